//go:build linux

package main

func databases() []server {
	const section = "Databases"
	postgres := server{
		section: section,
		product: product{
			name: "PostgreSQL", version: []string{"/usr/lib/postgresql/15/bin/postgres", "--version"}, pattern: `PostgreSQL\) ([\d.]+)`, line: "15",
			ends: "2027-11-11", endsSource: "https://endoflife.date/postgresql",
		},
		needs: []string{"/usr/lib/postgresql/15/bin/postgres", "setpriv"}, installed: "postgresql (Debian)",
		before: asPostgres("/bin/sh", "-c", "/usr/lib/postgresql/15/bin/initdb -A trust -D {{.Home}}/data"),
		command: asPostgres("/usr/lib/postgresql/15/bin/postgres", "-D", "{{.Home}}/data", "-k", "",
			"-c", "listen_addresses=127.0.0.1", "-p", "{{.Port}}"),
		// The beginning of a session of the user postgres. R is an answer that is no error (E).
		target: []string{"--tcp", `127.0.0.1:{{.Port}},\x00\x00\x00\x17\x00\x03\x00\x00user\x00postgres\x00\x00,R`},
		source: "https://www.postgresql.org/docs/15/server-shutdown.html",
	}
	smart, fast := postgres, postgres
	smart.name = "PostgreSQL, SIGTERM"
	smart.documented = "SIGTERM is a smart shutdown: no new connections, and it waits for all sessions to end."
	smart.why = "A new client gets a FATAL message. Two sessions stay open, and the server waits for them."
	smart.want, smart.wantDelayed = findings{fails: "LC102 LC108", exit: 137}, findings{fails: "LC102", exit: 137}
	fast.name, fast.signal = "PostgreSQL, SIGINT", "INT"
	fast.documented = "SIGINT is a fast shutdown: sessions are ended, and transactions rolled back. The official image has it as its STOPSIGNAL."
	fast.why = "A new client gets a FATAL message until the server has exited."
	fast.want, fast.wantDelayed = findings{fails: "LC104 LC108"}, findings{}
	return []server{
		{
			name: "Redis", section: section,
			product: product{
				name: "Redis", version: []string{"redis-server", "--version"}, pattern: `v=([\d.]+)`, line: "7.0",
				ends: "2024-07-29", endsSource: "https://endoflife.date/redis",
			},
			needs: []string{"redis-server"}, installed: "redis-server (Debian)",
			command:    []string{"redis-server", "--bind", "127.0.0.1", "--port", "{{.Port}}", "--dir", "{{.Dir}}"},
			target:     []string{"--tcp", `127.0.0.1:{{.Port}},PING\r\n,+PONG`},
			documented: "SIGTERM saves to disk if configured to, and exits with 0. It waits for replicas, not for clients.",
			source:     "https://redis.io/docs/latest/operate/oss_and_stack/reference/signals/",
			want:       findings{fails: "LC104"}, wantDelayed: findings{},
		},
		smart, fast,
	}
}

// asPostgres returns a command that runs as the user postgres, the only one as which the server
// starts.
func asPostgres(command ...string) []string {
	return append([]string{"setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"}, command...)
}
