"""The page that shows recordings and running programs: `segue view`.

`server.py` serves `assets/` and answers to questions, on loopback and to whoever has the token; `http.py` reads
requests; `running.py` asks a program that runs. The page asks what `docs/design/recording.md` lists and draws it. It
needs no build step and no network.
"""
