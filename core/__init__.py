"""Everything that works without ComfyUI."""
