"""Web pages of the two consoles: of a hospital (steward, clinician) and of the coordinator (researcher, second reader).

Made on the server by FastAPI and Jinja2; htmx refreshes parts where scripts run, and nothing needs them to be read.

settings.py    the table [identity] of hospital.toml or coordinator.toml
identity.py    OpenID Connect: who signs in, in which roles
sessions.py    who is signed in, in SQLite; sign-ins under way; failures and lockout
laptop.py      one person on the own machine: a link from the terminal, loopback only
guard.py       what every request passes: host, size, pace, session, headers; `require(role)`, tokens against forgery
languages.py   English and French: catalogues, numbers, dates
tables.py      tables with a CSV to download
plots.py       pictures for light and dark screens
frame.py       `application(...)`: all of it put together; `page(...)` makes one page
signin.py      signing in and out
hospital.py    the console of a hospital, with hospital_*.py
tokens.py      a researcher's API tokens
"""
