"""Logging that says which task it was and never holds up the loop: what `segue.log` shows is made here."""
