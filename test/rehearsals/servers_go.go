//go:build linux

package main

import "strings"

// builtGo asks a built program for the version of one of its modules.
func builtGo(name, program, module, line, source string) product {
	return product{
		name: name, version: []string{"go", "version", "-m", "{{.Go}}/" + program},
		pattern: `\s` + module + `\s+v([\d.]+)`, line: line, endsSource: source,
	}
}

func goServers() []server {
	stdlib := product{
		name: "Go", version: []string{"go", "version"}, pattern: `go([\d.]+) `, line: "1.27", endsSource: "https://go.dev/doc/devel/release#policy",
	}
	gin := builtGo("Gin", "gin", "github.com/gin-gonic/gin", "1", "https://github.com/gin-gonic/gin/security/policy")
	echo := builtGo("Echo", "echo", "github.com/labstack/echo/v4", "4", "https://github.com/labstack/echo/releases")
	fiber := builtGo("Fiber", "fiber", "github.com/gofiber/fiber/v3", "3", "https://github.com/gofiber/fiber/security/policy")
	all := []server{
		{
			name: "Go net/http", module: "nethttp", product: stdlib, command: []string{"{{.Go}}/nethttp"},
			documented: "A signal that the program does not request with signal.Notify terminates it.",
			source:     "https://pkg.go.dev/os/signal#hdr-Default_behavior_of_signals_in_Go_programs",
		},
		{
			name: "Go net/http, Shutdown", module: "nethttp-shutdown", product: stdlib, command: []string{"{{.Go}}/nethttp-shutdown"},
			documented: "Shutdown closes the listeners first, then idle connections, and waits for the others.",
			source:     "https://pkg.go.dev/net/http#Server.Shutdown",
		},
		{
			name: "Gin", module: "gin", product: gin, command: []string{"{{.Go}}/gin"},
			documented: noHandler, source: "https://gin-gonic.com/en/docs/quickstart/",
		},
		{
			name: "Gin, Shutdown", module: "gin", product: gin, command: []string{"{{.Go}}/gin", "shutdown"},
			documented: "Its example calls http.Server.Shutdown at SIGTERM, with a deadline of 5 s.",
			source:     "https://gin-gonic.com/en/docs/examples/graceful-restart-or-stop/",
		},
		{
			name: "Echo", module: "echo", product: echo, command: []string{"{{.Go}}/echo"},
			documented: noHandler, source: "https://echo.labstack.com/docs/quick-start",
		},
		{
			name: "Echo, Shutdown", module: "echo", product: echo, command: []string{"{{.Go}}/echo", "shutdown"},
			documented: "Its recipe calls Shutdown with a deadline of 10 s at SIGINT; here at SIGTERM too.",
			source:     "https://echo.labstack.com/docs/cookbook/graceful-shutdown",
		},
		{
			name: "Fiber", module: "fiber", product: fiber, command: []string{"{{.Go}}/fiber"},
			documented: noHandler, source: "https://docs.gofiber.io/",
		},
		{
			name: "Fiber, Shutdown", module: "fiber", product: fiber, command: []string{"{{.Go}}/fiber", "shutdown"},
			documented: "Shutdown closes the listeners first, and then waits for connections to become idle.",
			source:     "https://docs.gofiber.io/recipes/graceful-shutdown/",
		},
	}
	for i := range all {
		s := &all[i]
		s.section, s.target, s.env = "Go", web, []string{"PORT={{.Port}}", "GIN_MODE=release"}
		s.want, s.wantDelayed = closesAtOnce, closesLater
		if !strings.Contains(s.name, "Shutdown") {
			s.want = findings{fails: "LC103 LC104 LC107", warns: "LC105", exit: 143}
			s.wantDelayed = findings{fails: "LC103 LC107", warns: "LC105", exit: 143}
		}
	}
	return append(all, grpcServers()...)
}

func grpcServers() []server {
	grpc := builtGo("gRPC-Go", "grpc", "google.golang.org/grpc", "1", "https://github.com/grpc/grpc-go/releases")
	all := []server{{
		name: "gRPC-Go", module: "grpc", product: grpc, command: []string{"{{.Go}}/grpc"},
		documented: noHandler, source: "https://grpc.io/docs/languages/go/quickstart/",
		want:        findings{fails: "LC104 LC107 LC141", warns: "LC143", exit: 143},
		wantDelayed: findings{fails: "LC107 LC141", warns: "LC143", exit: 143},
	}, {
		name: "gRPC-Go, GracefulStop", module: "grpc", product: grpc, command: []string{"{{.Go}}/grpc", "graceful"},
		documented: "GracefulStop stops accepting, sends GOAWAY, and waits for the calls in flight, however long they take.",
		source:     "https://pkg.go.dev/google.golang.org/grpc#Server.GracefulStop",
		why:        "A client watches the health of the server. It keeps its stream after the GOAWAY, and the health service does not end it. A deadline must: the next row.",
		want:       findings{fails: "LC102 LC104", exit: 137}, wantDelayed: findings{fails: "LC102", exit: 137},
	}, {
		name: "gRPC-Go, GracefulStop, then Stop", module: "grpc", product: grpc, command: []string{"{{.Go}}/grpc", "graceful", "3s"},
		documented: "Its example calls Stop, which closes all connections, when GracefulStop takes longer than 10 s; here 3 s.",
		source:     "https://github.com/grpc/grpc-go/tree/master/examples/features/gracefulstop",
		want:       findings{fails: "LC104"},
	}}
	for i := range all {
		s := &all[i]
		s.section, s.target, s.env = "Go", []string{"--grpc", "127.0.0.1:{{.Port}}"}, []string{"PORT={{.Port}}"}
	}
	return all
}

const noHandler = "Like every Go program without signal.Notify."
