package pgtest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Standby returns a streaming standby of the server, which goes with the test.
func (s *Server) Standby(t testing.TB) *Server {
	t.Helper()
	standby := &Server{bin: s.bin, identity: s.identity, settings: s.settings}
	var err error
	standby.dir, err = os.MkdirTemp("/tmp", "lastcall-pg-") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	standby.done = make(chan struct{})
	close(standby.done) // it has not begun
	t.Cleanup(func() {
		if err := standby.Close(); err != nil {
			t.Error(err)
		}
	})
	if s.identity != nil {
		if err := os.Chown(standby.dir, int(s.identity.Uid), int(s.identity.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	if err := standby.run("pg_basebackup", "--pgdata", standby.data(), "--host", s.dir, "--username", "lastcall",
		"--write-recovery-conf", "--checkpoint", "fast", "--no-sync"); err != nil {
		t.Fatal(err)
	}
	if err := standby.Start(); err != nil {
		t.Fatal(err)
	}
	return standby
}

// Promote makes a standby the primary, and returns when it is.
func (s *Server) Promote() error { return s.run("pg_ctl", "--pgdata", s.data(), "--wait", "promote") }

// Host is the directory of the server's socket, as in host=DIRECTORY.
func (s *Server) Host() string { return s.dir }

// run runs one of PostgreSQL's programs as the server's user.
func (s *Server) run(program string, args ...string) error {
	cmd := exec.CommandContext(context.Background(), filepath.Join(s.bin, program), args...)
	cmd.Dir, cmd.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: s.identity}
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}
