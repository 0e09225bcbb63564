package pgtest

import (
	"errors"
	"slices"
	"testing"
)

// Standby starts a streaming standby of the server, which is removed after the test. It skips the
// test if the machine has PostgreSQL's server programs but no pg_basebackup.
func (s *Server) Standby(t testing.TB) *Server {
	t.Helper()
	if err := Missing("pg_basebackup"); err != nil {
		t.Skip(err)
	}
	standby, err := s.Follow(s.dir, "", Setup{Env: s.setup.Env, inMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := standby.Close(); err != nil {
			t.Error(err)
		}
	})
	return standby
}

// Follow starts a streaming standby for a program that is not a test:
//
//   - It connects to the server at a host and a port, for example those of a proxy. The host may be
//     the directory of a socket; an empty port is the server's.
//   - Its name in pg_stat_replication is standby.
//   - It uses the given Setup and the settings of the server.
func (s *Server) Follow(host, port string, setup Setup) (_ *Server, err error) {
	standby := &Server{bin: s.bin, setup: setup, settings: slices.Clone(s.settings)}
	if err = standby.found(); err == nil {
		from := "application_name=standby user=lastcall host=" + host
		if port == "" {
			port = s.port
		}
		if port != "" {
			from += " port=" + port
		}
		args := []string{"--pgdata", standby.Data(), "--dbname", from, "--write-recovery-conf", "--checkpoint", "fast",
			"--no-sync"}
		if setup.WAL != "" {
			args = append(args, "--waldir", setup.WAL)
		}
		err = standby.Run("pg_basebackup", args...)
	}
	if err == nil {
		err = standby.Start()
	}
	if err != nil {
		return nil, errors.Join(err, standby.remove())
	}
	return standby, nil
}

// Promote makes a standby the primary, and returns when it is.
func (s *Server) Promote() error { return s.Run("pg_ctl", "--pgdata", s.Data(), "--wait", "promote") }
