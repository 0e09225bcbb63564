//go:build linux

package main

import "slices"

func rubyAndPHP() []server {
	all := []server{{
		name: "Puma", section: "Ruby and PHP",
		product: product{
			name: "Puma", version: []string{"puma", "--version"}, pattern: `version ([\d.]+)`, line: "5.6",
			endsSource: "https://github.com/puma/puma/blob/master/SECURITY.md", old: true,
		},
		needs: []string{"puma"}, installed: "puma (Debian)",
		command: []string{"puma", "-b", "tcp://127.0.0.1:{{.Port}}", "{{.Data}}/ruby/config.ru"}, target: web,
		documented: "TERM makes it finish the requests in flight, and then raise SignalException (raise_exception_on_sigterm).",
		source:     "https://github.com/puma/puma/blob/v5.6.5/docs/signals.md",
		why:        "The exception makes a process exit with 143, and PID 1 with 1 ([puma#3639](https://github.com/puma/puma/issues/3639)): with `raise_exception_on_sigterm false` it exits with 0. A kept connection that is asked again within 0.2 s gets Connection: close; a longer idle one is closed without notice.",
		want:       findings{fails: "LC104", warns: "LC105 LC106", exit: 1}, wantDelayed: findings{warns: "LC105 LC106", exit: 1},
	}}
	for _, one := range []struct{ name, signal, documented, more string }{
		{"PHP-FPM, SIGTERM", "TERM", "SIGTERM is an immediate termination.", ""},
		{"PHP-FPM, SIGQUIT", "QUIT", "SIGQUIT is a graceful stop. The official image has it as its STOPSIGNAL. It waits for its children for process_control_timeout, which is 0.", ""},
		{"PHP-FPM, SIGQUIT, process_control_timeout 10s", "QUIT", "It waits for its children for process_control_timeout.", "process_control_timeout = 10s\n"},
	} {
		s := server{
			name: one.name, section: "Ruby and PHP", signal: one.signal,
			product: product{
				name: "PHP", version: []string{"php-fpm8.2", "-v"}, pattern: `PHP ([\d.]+)`, line: "8.2",
				ends: "2026-12-31", endsSource: "https://endoflife.date/php",
			},
			needs: []string{"php-fpm8.2", "nginx"}, installed: "php-fpm and nginx (Debian)",
			command:   []string{"php-fpm8.2", "--nodaemonize", "--fpm-config", "{{.Dir}}/fpm.conf"},
			alongside: []string{"nginx", "-c", "{{.Dir}}/nginx.conf", "-g", "daemon off;"},
			files: map[string]string{
				"fpm.conf": "[global]\nerror_log = /dev/stderr\n" + one.more + `[www]
user = www-data
listen = 127.0.0.1:{{.Inner}}
pm = dynamic
pm.max_children = 5
pm.start_servers = 2
pm.min_spare_servers = 1
pm.max_spare_servers = 3
`,
				"nginx.conf": `pid {{.Dir}}/pid;
error_log stderr;
events {}
http {
	access_log off;
	server {
		listen 127.0.0.1:{{.Port}};
		location / {
			include /etc/nginx/fastcgi_params;
			fastcgi_param SCRIPT_FILENAME {{.Data}}/php/index.php;
			fastcgi_pass 127.0.0.1:{{.Inner}};
		}
	}
}
`,
			},
			target: slices.Concat(web, []string{"--any-host"}), documented: one.documented, source: "https://www.php.net/manual/en/install.fpm.configuration.php#process-control-timeout",
			why: "It is behind an nginx that keeps running, and answers 502 once PHP-FPM is gone. While clients are still routed there, that counts as refused.",
		}
		s.want, s.wantDelayed = findings{fails: "LC104 LC108"}, findings{fails: "LC108"}
		if one.more != "" {
			s.want, s.wantDelayed = findings{fails: "LC108", warns: "LC144"}, findings{fails: "LC108", warns: "LC144"}
			s.why += " One of them had to wait, because two children run at first."
		}
		all = append(all, s)
	}
	return all
}
