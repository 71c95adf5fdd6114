/**
 * The records of the HTTP API (docs: `/librarian/openapi.json`), as far as the panel reads them.
 * Types only; nothing here runs.
 */

/**
 * @typedef {object} ModelRow One row of `GET /models`.
 * @property {string} model_id
 * @property {string} [official_name]
 * @property {string} [file_name]
 * @property {string} [model_type]
 * @property {string} [subtype]
 * @property {string} [family]
 * @property {string} [base_model]
 * @property {string} [variant]
 * @property {string} [precision]
 * @property {string} [model_format]
 * @property {number} [size_bytes]
 * @property {string} [security_tier]
 * @property {string | null} [pickle_state] what was found in a pickle
 * @property {string} [storage]
 * @property {string[]} [tags]
 * @property {string} [match_source]
 * @property {string} [match_method]
 * @property {number} [match_confidence]
 * @property {boolean} [hash_mismatch]
 * @property {boolean} [pending_online_lookup]
 * @property {boolean} [linked]
 * @property {string | null} [preview_url]
 * @property {boolean} [preview_is_video]
 * @property {boolean} [can_show] whether its folder can be opened on the server's desktop
 * @property {string} [added_date]
 * @property {string} [updated_date]
 * @property {string | null} [problem]
 * @property {Said | null} [problem_said]
 */

/**
 * @typedef {object} ModelFile
 * @property {string} name below the model's folder, or an absolute path for a model in place
 * @property {string} [original_name]
 * @property {string} [path]
 * @property {number} [size]
 * @property {string | null} [sha256]
 * @property {string | null} [blake3]
 * @property {boolean} [exists]
 */

/**
 * @typedef {object} Link
 * @property {string | number} link_id
 * @property {string} [model_id]
 * @property {string} app
 * @property {string} target
 * @property {string} [source]
 * @property {string} [link_type]
 * @property {boolean} [is_external]
 * @property {string} [state]
 */

/**
 * @typedef {object} PickleFound A class or function that a pickle names.
 * @property {string} module
 * @property {string} name
 * @property {'harmless' | 'unknown' | 'dangerous'} severity
 */

/** @typedef {ModelRow & {pickle_scan?: {state: string, globals: PickleFound[], message?: string | null} | null, files?: ModelFile[], links?: Link[], trained_words?: string[], description?: string,
 *   notes?: string, repo_id?: string, download_url?: string, hashes?: Record<string, string>,
 *   [key: string]: any}} ModelRecord */

/**
 * @typedef {object} Progress
 * @property {number} [current]
 * @property {number} [total]
 * @property {string} [unit]
 * @property {number} [rate] units a second
 * @property {number} [eta_s] seconds left
 */

/**
 * @typedef {object} JobItem
 * @property {string} [name]
 * @property {string} [state]
 * @property {string} [message]
 * @property {Said | null} [said]
 * @property {string} [model_id]
 * @property {number} [current]
 * @property {number} [total]
 */

/**
 * @typedef {object} Job
 * @property {string} id
 * @property {string} kind
 * @property {'queued' | 'running' | 'done' | 'failed' | 'cancelled' | 'interrupted'} state
 * @property {string} [stage]
 * @property {Progress | null} [progress]
 * @property {JobItem[]} [items]
 * @property {any} [result]
 * @property {any} [error]
 * @property {string} [created_at]
 * @property {string} [started_at]
 * @property {string} [finished_at]
 */

/**
 * @typedef {object} Status
 * @property {string} version
 * @property {{id?: string, root?: string, models: number, files?: number, size_bytes?: number, in_place?: number}} library
 * @property {{state: string, progress?: Progress | null}} index
 * @property {{offline: boolean, hosts?: {host: string, state: string, failures?: number, retry_after_s?: number}[],
 *   rate_limit?: {host: string, remaining: number, limit: number | null, reset_s: number, near_limit: boolean} | null}} network
 * @property {{queued: number, running: number}} jobs
 * @property {Warning[]} [warnings]
 * @property {boolean} [first_run]
 */

/**
 * @typedef {object} Candidate One answer of `POST /lookup`.
 * @property {string} provider
 * @property {string} repo_id
 * @property {string} [match_method]
 * @property {number} [match_confidence]
 * @property {boolean} [requires_confirmation]
 * @property {boolean} [hash_mismatch]
 * @property {string} [official_name]
 * @property {string} [name]
 * @property {string} [filename]
 * @property {string} [file_name]
 * @property {string} [revision]
 * @property {string | null} [base_model]
 * @property {string} [page_url]
 * @property {string} [url]
 */

/** @typedef {{provider: string, code: string, message: string}} SourceProblem Why a provider's part is missing. */

/** @typedef {{found: boolean, candidates: Candidate[], cached?: boolean, stale?: boolean, offline?: boolean, problems?: SourceProblem[]}} LookupAnswer */

/** @typedef {{path: string, size?: number | null, sha256?: string | null, kind?: string}} RemoteFile */

/** @typedef {{path: string, variant: string, files: string[], size?: number | null, pickle?: boolean}} RemotePipeline A Diffusers folder in one precision. */

/**
 * @typedef {object} RemoteModel A repository of `GET /remote`.
 * @property {string} provider
 * @property {string} repo_id
 * @property {string} [name]
 * @property {string} [version]
 * @property {string} [author]
 * @property {string} [revision]
 * @property {string} [kind]
 * @property {string | null} [base_model]
 * @property {string} [description]
 * @property {string | null} [licence]
 * @property {number} [downloads]
 * @property {number} [likes]
 * @property {boolean} [gated] terms must be accepted at its host first
 * @property {boolean} [nsfw]
 * @property {string[]} [file_names]
 * @property {RemoteFile[]} [files] where their sizes are known
 * @property {RemotePipeline[]} [pipelines] which of them are one model together
 * @property {string} [page_url]
 */

/** @typedef {{provider: string, repo_id?: string, revision?: string, files?: string[], variant?: string, url?: string, directory?: string, sha256?: string, here?: string[], uploads?: string[], acknowledge_pickle?: boolean, link?: boolean}} DownloadRequest */

/**
 * @typedef {object} Download
 * @property {string} id
 * @property {string | null} [job_id]
 * @property {string} provider
 * @property {string} [repo_id]
 * @property {string} [revision]
 * @property {string} name
 * @property {string | null} [page_url]
 * @property {'queued' | 'downloading' | 'waiting' | 'paused' | 'importing' | 'done' | 'failed'} state
 * @property {{code: string, message: string} | null} [reason] why it waits or failed
 * @property {number | null} [retry_after_s]
 * @property {{path: string, size?: number | null, received?: number, state: string, asked?: boolean, reason?: {code: string, message: string} | null, aside?: {path: string, size: number, sha256: string} | null}[]} files
 * @property {number | null} [size] bytes
 * @property {number} [received] bytes
 * @property {number} [aside_size] bytes of what came wrong and is kept aside
 * @property {number | null} [rate] bytes a second
 * @property {number | null} [eta_s]
 * @property {boolean} [link]
 * @property {string[]} [models] ids of what it became
 * @property {{path: string, size?: number | null, subtype: string}[]} [related]
 * @property {string} [created_at]
 */

/**
 * What a message of the server says, for those who speak another language than it.
 * @typedef {object} Said
 * @property {string} code
 * @property {Record<string, string | number | Said>} parameters names that end in `_bytes` are sizes
 */

/** @typedef {{code: string, message: string, said?: Said | null}} Warning What should be known before. */

/**
 * @typedef {object} InspectGroup
 * @property {string} name
 * @property {string} [format]
 * @property {{path?: string, upload?: string | null, size?: number, sha256?: string | null}[]} files of an upload, the path is the name that it came with
 * @property {{path?: string, upload?: string | null, size?: number}[]} [beside] uploads that come along, such as its picture
 * @property {boolean} [complete]
 * @property {(string | number)[]} [missing_shards]
 * @property {Record<string, any> | null} [guess]
 * @property {string} [security_tier]
 * @property {string | null} [duplicate_of]
 * @property {boolean} [importable]
 * @property {string | null} [problem]
 * @property {Said | null} [problem_said]
 * @property {number} [size_bytes]
 * @property {Warning[]} [warnings]
 */

/** @typedef {{name: string, path: string, is_dir: boolean, size?: number, importable?: boolean}} BrowseEntry */
/** @typedef {{path: string | null, parent: string | null, entries: BrowseEntry[]}} Folder */

/**
 * @typedef {object} LibrarianApp An app that wants models in its own folders.
 * @property {string} app
 * @property {string} [name]
 * @property {string} [kind]
 * @property {string} [version] `*` where it is not known
 * @property {string} [root]
 * @property {boolean} [added] whether a person added it
 * @property {boolean} [ghost] whether its root is gone
 * @property {string[]} [problems] what of its own settings cannot be used
 * @property {Record<string, string[]>} [folders]
 * @property {number} [links]
 */

/** @typedef {{target: string, source?: string, model_id?: string, app?: string, reason?: string, size_bytes?: number, [key: string]: any}} PlanEntry */

/**
 * @typedef {object} Plan
 * @property {string} plan_id
 * @property {PlanEntry[]} to_create
 * @property {PlanEntry[]} to_skip_exists
 * @property {PlanEntry[]} conflicts
 * @property {PlanEntry[]} broken_to_remove
 * @property {PlanEntry[]} orphaned_to_remove
 * @property {any[]} warnings
 * @property {any[]} errors
 * @property {number} total_actions
 * @property {number} [bytes_to_win] what links in the place of copies would give back
 */

/** @typedef {Record<string, {value: string, count: number}[]>} Facets for each filter its values, and how many models have each */

/**
 * @typedef {object} NamedModel What a node says of its model.
 * @property {string} model_id
 * @property {string} name
 * @property {string} file its file's name
 * @property {string} subtype
 * @property {string} url where it can be had; empty where that is not known
 * @property {string} sha256 empty where it is not known
 */

/**
 * @typedef {object} ModelInput An input of a node that takes a model.
 * @property {string} name
 * @property {boolean} ours whether it takes a model's id; else the name that ComfyUI has for it
 * @property {string[] | null} subtypes what fits; null where that is not known
 * @property {string} value
 * @property {HTMLElement | null} element what it is drawn as, if that is an element
 * @property {() => string[]} options the names that it takes
 * @property {(value: string) => void} set a step that ComfyUI can undo
 */

/** @typedef {{title: string, place: DOMRect, inputs: ModelInput[], inputAt: string | null}} GraphNode `place` is in the page, pixels */

/**
 * @typedef {object} Replacement Another value wherever a workflow names a model so.
 * @property {boolean} ours whether in nodes of ours, which take ids
 * @property {string} folder
 * @property {string} name
 * @property {string} value
 */

/**
 * @typedef {object} GraphHost The graph of the open workflow. What it changes is one step that ComfyUI can undo.
 * @property {(nodeId: string, widgets: Record<string, string>, at?: {x: number, y: number}) => boolean} add at a point of
 *   the page, else in the middle of what is shown; false where there is no such node
 * @property {(x: number, y: number) => {node: GraphNode | null} | null} at what lies at a point of the page; null beside the graph
 * @property {() => any} serialize the open workflow as ComfyUI saves it
 * @property {() => {value: string, subtypes: string[], stated: any}[]} ours the models of our nodes, and what the workflow says of them
 * @property {(node: any, input: string, value: string) => void} set
 * @property {(replacements: Replacement[]) => Replacement[]} replace in subgraphs too; answers those that no node took
 */

/**
 * @typedef {object} ResolvedModel
 * @property {string} model_id
 * @property {string} name
 * @property {string} [subtype]
 * @property {number} [size_bytes]
 * @property {string | null} [value] what the app calls it, if it can see it
 */

/**
 * @typedef {object} Resolution One result of `POST /resolve`.
 * @property {string} folder
 * @property {string} name
 * @property {'present' | 'elsewhere' | 'in_library' | 'downloadable' | 'unknown'} state
 * @property {string | null} [value]
 * @property {string | null} [model_id]
 * @property {string | null} [url]
 * @property {string | null} [sha256] what the workflow names
 * @property {string | null} [identity] what a node of Librarian's own says
 * @property {boolean} [hash_mismatch] whether `value` has other bytes
 * @property {ResolvedModel[]} candidates
 */

/** What stands between the panel and where it runs: ComfyUI, or a page of its own.
 * @typedef {object} Host
 * @property {'comfyui' | 'page'} kind
 * @property {(path: string, init?: RequestInit) => Promise<Response>} fetch `path` begins with `/librarian/`
 * @property {(path: string) => string} url address for `<img>` and `<link>`, of a path without leading slash
 * @property {(name: string, listener: (data: any) => void) => () => void} on an event of ours; answers its end
 * @property {(severity: 'success' | 'info' | 'warn' | 'error', summary: string, detail?: string) => boolean} toast
 *   false when the host has none, so that the panel shows its own
 * @property {() => Promise<void>} refreshNodes tells combos that files came or went
 * @property {() => void} open shows the panel
 * @property {(count: number) => void} badge how many things want attention, at the button that opens the panel
 * @property {GraphHost | null} graph null where there is none
 * @property {() => string} language a BCP 47 tag
 */

export {}
