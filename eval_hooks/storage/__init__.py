"""Files: where a folder's paths lead, what is written whole or not at all."""
