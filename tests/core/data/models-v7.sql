-- models.db as version 7 wrote it, with two models, and one without a file: what a link led to was listed again.
PRAGMA user_version = 7;
CREATE TABLE models (
  id INTEGER PRIMARY KEY,
  model_id TEXT NOT NULL UNIQUE,
  official_name TEXT NOT NULL,
  name_key TEXT NOT NULL,
  file_names TEXT NOT NULL,
  model_type TEXT NOT NULL,
  subtype TEXT NOT NULL,
  family TEXT NOT NULL,
  base_model TEXT NOT NULL,
  variant TEXT NOT NULL,
  precision TEXT NOT NULL,
  model_format TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  security_tier TEXT NOT NULL,
  storage TEXT NOT NULL,
  tags TEXT NOT NULL,
  trained_words TEXT NOT NULL,
  description TEXT NOT NULL,
  repo_id TEXT NOT NULL,
  parts TEXT NOT NULL,
  match_source TEXT NOT NULL,
  match_method TEXT NOT NULL,
  match_confidence REAL NOT NULL,
  hash_mismatch INTEGER NOT NULL,
  pending_online_lookup INTEGER NOT NULL,
  has_preview INTEGER NOT NULL,
  added_date TEXT NOT NULL,
  updated_date TEXT NOT NULL,
  last_used TEXT,
  problem TEXT,
  header_read INTEGER NOT NULL,
  metadata_mtime_ns INTEGER,
  metadata TEXT NOT NULL
  , pickle_state TEXT NOT NULL DEFAULT '');
CREATE TABLE model_files (
  id INTEGER PRIMARY KEY,
  model INTEGER NOT NULL REFERENCES models (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  path TEXT NOT NULL UNIQUE,
  folder TEXT,
  size INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  inode TEXT NOT NULL,
  sha256 TEXT,
  blake3 TEXT
);
CREATE TABLE model_changes (number INTEGER PRIMARY KEY, model INTEGER NOT NULL);
CREATE TABLE scanned_folders (
  path TEXT PRIMARY KEY,
  folder TEXT NOT NULL,
  subtype TEXT NOT NULL,
  fingerprint TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE model_tags (
  tag TEXT NOT NULL,
  model INTEGER NOT NULL REFERENCES models (id) ON DELETE CASCADE,
  PRIMARY KEY (tag, model)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE model_search USING fts5(model_id UNINDEXED, repo_id, official_name, family, tags, description, file_names, model_type, subtype, base_model, trained_words, parts, content = 'models', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2');
CREATE INDEX models_by_name ON models (name_key, id);
CREATE INDEX models_by_added ON models (added_date, id);
CREATE INDEX models_unread ON models (id) WHERE header_read = 0;
CREATE INDEX model_files_by_model ON model_files (model, position);
CREATE INDEX model_files_by_sha256 ON model_files (sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX model_files_by_blake3 ON model_files (blake3) WHERE blake3 IS NOT NULL;
CREATE INDEX model_files_by_size ON model_files (size);
CREATE INDEX models_by_storage ON models (storage, size_bytes);
CREATE INDEX models_written_in_place ON models (model_id) WHERE storage = 'in-place' AND metadata_mtime_ns IS NOT NULL;
CREATE INDEX model_files_elsewhere ON model_files (model) WHERE folder = '';
CREATE INDEX models_with_pickles ON models (id) WHERE security_tier = 'pickle' AND pickle_state = '';
CREATE INDEX model_tags_by_model ON model_tags (model);
CREATE TRIGGER models_ai AFTER INSERT ON models BEGIN INSERT INTO model_search (rowid, model_id, repo_id, official_name, family, tags, description, file_names, model_type, subtype, base_model, trained_words, parts) VALUES (NEW.id, NEW.model_id, NEW.repo_id, NEW.official_name, NEW.family, NEW.tags, NEW.description, NEW.file_names, NEW.model_type, NEW.subtype, NEW.base_model, NEW.trained_words, NEW.parts); END;
CREATE TRIGGER models_ad AFTER DELETE ON models BEGIN INSERT INTO model_search (model_search, rowid, model_id, repo_id, official_name, family, tags, description, file_names, model_type, subtype, base_model, trained_words, parts) VALUES ('delete', OLD.id, OLD.model_id, OLD.repo_id, OLD.official_name, OLD.family, OLD.tags, OLD.description, OLD.file_names, OLD.model_type, OLD.subtype, OLD.base_model, OLD.trained_words, OLD.parts); END;
CREATE TRIGGER models_au AFTER UPDATE ON models WHEN NEW.id IS NOT OLD.id OR NEW.repo_id IS NOT OLD.repo_id OR NEW.official_name IS NOT OLD.official_name OR NEW.family IS NOT OLD.family OR NEW.tags IS NOT OLD.tags OR NEW.description IS NOT OLD.description OR NEW.file_names IS NOT OLD.file_names OR NEW.model_type IS NOT OLD.model_type OR NEW.subtype IS NOT OLD.subtype OR NEW.base_model IS NOT OLD.base_model OR NEW.trained_words IS NOT OLD.trained_words OR NEW.parts IS NOT OLD.parts BEGIN INSERT INTO model_search (model_search, rowid, model_id, repo_id, official_name, family, tags, description, file_names, model_type, subtype, base_model, trained_words, parts) VALUES ('delete', OLD.id, OLD.model_id, OLD.repo_id, OLD.official_name, OLD.family, OLD.tags, OLD.description, OLD.file_names, OLD.model_type, OLD.subtype, OLD.base_model, OLD.trained_words, OLD.parts); INSERT INTO model_search (rowid, model_id, repo_id, official_name, family, tags, description, file_names, model_type, subtype, base_model, trained_words, parts) VALUES (NEW.id, NEW.model_id, NEW.repo_id, NEW.official_name, NEW.family, NEW.tags, NEW.description, NEW.file_names, NEW.model_type, NEW.subtype, NEW.base_model, NEW.trained_words, NEW.parts); END;
INSERT INTO models (id, model_id, official_name, name_key, file_names, model_type, subtype, family, base_model, variant, precision, model_format, size_bytes, security_tier, storage, tags, trained_words, description, repo_id, parts, match_source, match_method, match_confidence, hash_mismatch, pending_online_lookup, has_preview, added_date, updated_date, last_used, problem, header_read, metadata_mtime_ns, metadata, pickle_state) VALUES (1, 'in-place/juggernautXL_v9-0a1b2c3d', 'juggernautXL_v9', 'juggernautxl v9', 'juggernautXL_v9.safetensors', 'diffusion', 'checkpoints', 'sdxl', '', '', '', 'single-file', 100, 'unknown', 'in-place', 'photo', '', '', '', 'juggernaut XL v 9', 'auto', 'none', 0.0, 0, 0, 0, '2026-11-01T12:00:00+00:00', '2026-11-01T12:00:00+00:00', NULL, NULL, 1, NULL, '{"model_id":"in-place/juggernautXL_v9-0a1b2c3d","official_name":"juggernautXL_v9","cleaned_name":"juggernautXL_v9","model_type":"diffusion","subtype":"checkpoints","family":"sdxl","tags":["photo"],"files":[{"name":"/models/checkpoints/juggernautXL_v9.safetensors","original_name":"juggernautXL_v9.safetensors","size":100}],"size_bytes":100,"added_date":"2026-11-01T12:00:00Z","updated_date":"2026-11-01T12:00:00Z","storage":"in-place"}', '');
INSERT INTO models (id, model_id, official_name, name_key, file_names, model_type, subtype, family, base_model, variant, precision, model_format, size_bytes, security_tier, storage, tags, trained_words, description, repo_id, parts, match_source, match_method, match_confidence, hash_mismatch, pending_online_lookup, has_preview, added_date, updated_date, last_used, problem, header_read, metadata_mtime_ns, metadata, pickle_state) VALUES (2, 'diffusion/flux/flux-realism-lora', 'flux-realism-lora', 'flux realism lora', 'flux-realism-lora.safetensors', 'diffusion', 'loras', 'flux', '', '', '', 'single-file', 100, 'unknown', 'owned', '', '', '', '', '', 'manual', 'none', 0.0, 0, 0, 0, '2026-11-01T12:00:00+00:00', '2026-11-01T12:00:00+00:00', '2026-11-27T15:56:53.888599+00:00', NULL, 1, 7, '{"schema":1,"model_id":"diffusion/flux/flux-realism-lora","official_name":"flux-realism-lora","cleaned_name":"flux-realism-lora","model_type":"diffusion","subtype":"loras","family":"flux","base_model":"","variant":"","precision":"","model_format":"single-file","tags":[],"trained_words":[],"description":"","notes":"kept","files":[{"name":"flux-realism-lora.safetensors","original_name":"flux-realism-lora.safetensors","size":100,"sha256":null,"blake3":null,"shard_index":null,"shard_total":null}],"hashes":{"sha256":null,"blake3":null},"size_bytes":100,"approx_weight_size_gb":0.0,"security_tier":"unknown","pickle_acknowledged":false,"pickle_scan":null,"repo_id":"","download_url":"","preview_image":null,"compatible_apps":[],"match_source":"manual","match_method":"none","match_confidence":0.0,"hash_mismatch":false,"pending_online_lookup":false,"lookup_attempts":0,"last_lookup_attempt":null,"added_date":"2026-11-01T12:00:00Z","updated_date":"2026-11-01T12:00:00Z","storage":"owned"}', '');
INSERT INTO models (id, model_id, official_name, name_key, file_names, model_type, subtype, family, base_model, variant, precision, model_format, size_bytes, security_tier, storage, tags, trained_words, description, repo_id, parts, match_source, match_method, match_confidence, hash_mismatch, pending_online_lookup, has_preview, added_date, updated_date, last_used, problem, header_read, metadata_mtime_ns, metadata, pickle_state) VALUES (3, 'in-place/juggernautXL_v9-4e5f6a7b', 'juggernautXL_v9', 'juggernautxl v9', 'juggernautXL_v9.safetensors', 'diffusion', 'checkpoints', 'sdxl', '', '', '', 'single-file', 100, 'unknown', 'in-place', '', '', '', '', 'juggernaut XL v 9', 'auto', 'none', 0.0, 0, 0, 0, '2026-11-01T12:00:00+00:00', '2026-11-01T12:00:00+00:00', NULL, NULL, 1, NULL, '{"model_id":"in-place/juggernautXL_v9-4e5f6a7b","official_name":"juggernautXL_v9","cleaned_name":"juggernautXL_v9","model_type":"diffusion","subtype":"checkpoints","family":"sdxl","tags":["photo"],"files":[{"name":"/models/checkpoints/juggernautXL_v9.safetensors","original_name":"juggernautXL_v9.safetensors","size":100}],"size_bytes":100,"added_date":"2026-11-01T12:00:00Z","updated_date":"2026-11-01T12:00:00Z","storage":"in-place"}', '');
INSERT INTO model_files (id, model, position, path, folder, size, mtime_ns, inode, sha256, blake3) VALUES (1, 1, 0, '/models/checkpoints/juggernautXL_v9.safetensors', '/models/checkpoints', 100, 1, '1:1', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb');
INSERT INTO model_files (id, model, position, path, folder, size, mtime_ns, inode, sha256, blake3) VALUES (2, 2, 0, '/library/diffusion/flux/flux-realism-lora/flux-realism-lora.safetensors', NULL, 100, 1, '1:2', NULL, NULL);
INSERT INTO model_changes (number, model) VALUES (1, 1);
INSERT INTO model_changes (number, model) VALUES (2, 2);
INSERT INTO model_changes (number, model) VALUES (3, 2);
INSERT INTO model_changes (number, model) VALUES (4, 3);
INSERT INTO scanned_folders (path, folder, subtype, fingerprint) VALUES ('/models/checkpoints', '/models/checkpoints', 'checkpoints', '00ff');
INSERT INTO model_tags (tag, model) VALUES ('photo', 1);
CREATE TRIGGER models_ci AFTER INSERT ON models BEGIN INSERT INTO model_changes (model) VALUES (NEW.id); END;
CREATE TRIGGER models_cu AFTER UPDATE ON models BEGIN INSERT INTO model_changes (model) VALUES (NEW.id); END;
CREATE TRIGGER models_cd AFTER DELETE ON models BEGIN INSERT INTO model_changes (model) VALUES (OLD.id); END;
