"""Tasks: where items come from and how an answer is judged."""
