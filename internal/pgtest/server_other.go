//go:build !linux

package pgtest

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
)

// Server is a private cluster. Only Linux has them.
type Server struct{}

var errElsewhere = errors.New("a private cluster is started on Linux only")

// DSN returns the address of one of its databases.
func (s *Server) DSN(string) string { return "" }

// Start starts the server.
func (s *Server) Start() error { return errElsewhere }

// Stop stops the server.
func (s *Server) Stop(syscall.Signal) error { return errElsewhere }

// PID returns the id of the server's process.
func (s *Server) PID() int { return 0 }

// Close stops the server.
func (s *Server) Close() error { return nil }

func start(...string) (*Server, error) {
	if _, err := programs(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w; LASTCALL_TEST_POSTGRES names a server", errMissing, errElsewhere)
}

// StartIn starts a cluster with its data in a directory.
func StartIn(string, ...string) (*Server, error) { return start() }

// StartWith starts a cluster.
func StartWith(Setup) (*Server, error) { return start() }

// Password makes the server require a password of a role.
func (s *Server) Password(t testing.TB, _ string) { t.Fatal(errElsewhere) }

// Admit puts lines at the beginning of pg_hba.conf.
func (s *Server) Admit(t testing.TB, _ ...string) { t.Fatal(errElsewhere) }

// Listen makes the server listen on TCP, with TLS.
func (s *Server) Listen(t testing.TB, _, _ []byte) string {
	t.Fatal(errElsewhere)
	return ""
}

// Standby returns a streaming standby of the server.
func (s *Server) Standby(t testing.TB) *Server {
	t.Fatal(errElsewhere)
	return nil
}

// Promote makes a standby the primary.
func (s *Server) Promote() error { return errElsewhere }

// Host returns the directory of the server's socket.
func (s *Server) Host() string { return "" }

func useTemplate() {}

func removeTemplate() error { return nil }
