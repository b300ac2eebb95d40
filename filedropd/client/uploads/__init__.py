"""One upload: where its bytes come from, and how they get there."""
