"""`temper plan`: the dry run's lines, then memory, time, messages, disk and what to choose, in words."""
