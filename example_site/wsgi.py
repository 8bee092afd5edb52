"""The app for a WSGI server: `gunicorn --threads 4 example_site.wsgi:app`."""

from example_site import create_app

app = create_app()
