BEGIN TRANSACTION;
CREATE TABLE intents (
            intent_id INTEGER PRIMARY KEY,
            model_id TEXT NOT NULL,
            app TEXT NOT NULL,
            target_app_path TEXT NOT NULL,
            source_model_path TEXT NOT NULL,
            file_hash TEXT
        );
INSERT INTO "intents" VALUES(1,'a/b/c','comfyui','models/loras/never.safetensors','a/b/c/x.safetensors',NULL);
CREATE TABLE links (
            link_id INTEGER PRIMARY KEY,
            model_id TEXT NOT NULL,
            app TEXT NOT NULL,
            target_app_path TEXT NOT NULL,
            source_model_path TEXT NOT NULL,
            is_external INTEGER NOT NULL,
            link_type TEXT NOT NULL,
            file_hash TEXT,
            created_at TEXT NOT NULL,
            UNIQUE (app, target_app_path)
        );
INSERT INTO "links" VALUES(1,'upscaler/esrgan/up','comfyui','models/upscale_models/up.safetensors','upscaler/esrgan/up/up.safetensors',0,'symlink','ab','2026-01-02T03:04:05+00:00');
INSERT INTO "links" VALUES(2,'a/b/c','away','x.safetensors','a/b/c/x.safetensors',1,'hardlink',NULL,'2026-01-02T03:04:05+00:00');
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "settings" VALUES('app_root:away','{ROOT}/away');
INSERT INTO "settings" VALUES('app_root:comfyui','{ROOT}/ComfyUI');
INSERT INTO "settings" VALUES('library_root','{ROOT}/ComfyUI/model-library');
CREATE INDEX links_by_model ON links (model_id);
CREATE INDEX links_by_target ON links (target_app_path);
CREATE INDEX links_external ON links (link_id) WHERE is_external;
COMMIT;
PRAGMA user_version = 1;
