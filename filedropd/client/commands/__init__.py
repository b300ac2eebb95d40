"""What ``filedrop`` does: one file for each group of commands, and what they share."""
