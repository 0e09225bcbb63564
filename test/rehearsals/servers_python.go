//go:build linux

package main

func pythonServers() []server {
	const section = "Python"
	gunicorn := server{
		name: "gunicorn", section: section,
		product: product{
			name: "gunicorn", version: []string{"gunicorn", "--version"}, pattern: `version ([\d.]+)`, line: "20.1",
			endsSource: "https://github.com/benoitc/gunicorn/blob/master/SECURITY.md", old: true,
		},
		needs: []string{"gunicorn"}, installed: "gunicorn (Debian)",
		command: []string{"gunicorn", "-b", "127.0.0.1:{{.Port}}", "--chdir", "{{.Data}}/python", "app:wsgi"}, target: web,
		documented: "TERM is a graceful shutdown: it waits for workers to finish their current requests up to the graceful_timeout, 30 s.",
		source:     "https://docs.gunicorn.org/en/20.1.0/signals.html",
		why:        "Its one sync worker handles one request at a time, and the connections that wait in the listening socket are reset.",
		want:       findings{fails: "LC103 LC104"}, wantDelayed: findings{fails: "LC103"},
	}
	threads := gunicorn
	threads.name, threads.why = "gunicorn, 8 threads", ""
	threads.command = append([]string{"gunicorn", "--threads", "8"}, gunicorn.command[1:]...)
	threads.want, threads.wantDelayed = closesAtOnce, closesLater
	return []server{
		{
			name: "Python http.server", section: section,
			product: product{
				name: "Python", version: []string{"/usr/bin/python3", "--version"}, pattern: `Python ([\d.]+)`, line: "3.11",
				ends: "2027-10-24", endsSource: "https://endoflife.date/python",
			},
			needs: []string{"/usr/bin/python3"}, installed: "python3 (Debian)",
			command: []string{"/usr/bin/python3", "{{.Data}}/python/slow.py", "{{.Port}}", "{{.Data}}/python"}, target: web,
			documented: "It is not recommended for production. Only Ctrl-C stops it, as KeyboardInterrupt.",
			source:     "https://docs.python.org/3.11/library/http.server.html",
			want:       findings{fails: "LC101", exit: -1}, wantDelayed: findings{fails: "LC101", exit: -1},
		},
		gunicorn, threads,
		{
			name: "uvicorn", section: section,
			product: product{
				name: "uvicorn", version: []string{"uvicorn", "--version"}, pattern: `uvicorn ([\d.]+)`, line: "0.17",
				endsSource: "https://github.com/encode/uvicorn/releases", old: true,
			},
			needs: []string{"uvicorn"}, installed: "uvicorn (Debian)",
			command: []string{"uvicorn", "--host", "127.0.0.1", "--port", "{{.Port}}", "--app-dir", "{{.Data}}/python", "app:asgi"}, target: web,
			documented: "Graceful process shutdown: it stops accepting, closes idle connections, waits for requests, and runs the lifespan's end.",
			source:     "https://www.uvicorn.org/server-behavior/#graceful-process-shutdown",
			want:       closesAtOnce, wantDelayed: closesLater,
		},
	}
}
