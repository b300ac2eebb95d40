-- What the bytes of a drop are, for recipients to compare.

-- Of a drop that was left before this step, or whose bytes went to the disk unseen, it is not known.
ALTER TABLE drops ADD COLUMN sha256 BLOB CHECK (length(sha256) = 32);
