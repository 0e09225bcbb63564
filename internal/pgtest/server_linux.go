package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a private cluster.
type Server struct {
	bin, dir string
	kept     string // the directory of data that outlive the server; "" if none
	settings []string
	identity *syscall.Credential
	port     string // "" is the usual one
	cmd      *exec.Cmd
	log      *os.File
	done     chan struct{} // closed when the process has ended
}

// DSN is the address of one of its databases.
func (s *Server) DSN(database string) string {
	dsn := "postgres://lastcall@/" + database + "?host=" + s.dir
	if s.port != "" {
		dsn += "&port=" + s.port
	}
	return dsn
}

// start makes a cluster and starts it.
func start(settings ...string) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	return (&Server{bin: bin, settings: settings}).begin()
}

// StartIn starts a cluster for a program that is no test, with its data in a directory that Close
// leaves; they are created if there are none. Its parent must be one that the user nobody may enter
// when the program is run by root.
func StartIn(data string, settings ...string) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	return (&Server{bin: bin, settings: settings, kept: data}).begin()
}

// begin gives the server its directories and starts it.
func (s *Server) begin() (_ *Server, err error) {
	if s.dir, err = os.MkdirTemp("/tmp", "lastcall-pg-"); err != nil { // a socket's path must be short
		return nil, err
	}
	if err = s.own(); err == nil {
		err = s.create()
	}
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, nil
}

// own hands the directories to the server's user.
func (s *Server) own() error {
	if s.kept != "" {
		if err := os.MkdirAll(s.kept, 0o700); err != nil {
			return err
		}
	}
	if os.Getuid() == 0 { // which PostgreSQL refuses to be run by
		nobody, err := user.Lookup("nobody")
		if err != nil {
			return err
		}
		uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
		if err != nil {
			return err
		}
		gid, err := strconv.ParseUint(nobody.Gid, 10, 32)
		if err != nil {
			return err
		}
		s.identity = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		for _, dir := range []string{s.dir, s.kept} {
			if dir == "" {
				continue
			}
			if err := os.Chown(dir, int(uid), int(gid)); err != nil {
				return err
			}
		}
	}
	return nil
}

// create makes the cluster's files, unless they are there.
func (s *Server) create() error {
	if _, err := os.Stat(filepath.Join(s.data(), "PG_VERSION")); err == nil {
		return nil
	}
	cmd := exec.CommandContext(context.Background(), filepath.Join(s.bin, "initdb"), "--pgdata", s.data(), "--username", "lastcall",
		"--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	cmd.Dir, cmd.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: s.identity}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (s *Server) data() string {
	if s.kept != "" {
		return s.kept
	}
	return filepath.Join(s.dir, "data")
}

// Start starts the server and returns when it takes connections.
func (s *Server) Start() error {
	args := []string{"-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=200"}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	var err error
	if s.log, err = os.CreateTemp(s.dir, "log-"); err != nil {
		return err
	}
	s.cmd, s.done = exec.CommandContext(context.Background(), filepath.Join(s.bin, "postgres"), args...), make(chan struct{})
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, s.log, s.log
	// The server goes with the test, however that ends: the signal is sent when the thread ends that
	// started it, which therefore waits for it.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.identity, Pdeathsig: syscall.SIGQUIT}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // who stops it looks at the state
			close(s.done)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	return s.await()
}

// await waits until the server takes connections.
func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := pgx.Connect(ctx, s.DSN("postgres"))
		if err == nil {
			return c.Close(ctx)
		}
		select {
		case <-tick.C:
		case <-s.done:
			return fmt.Errorf("postgres ended: %s", s.output())
		case <-ctx.Done():
			return fmt.Errorf("postgres takes no connections: %w\n%s", err, s.output())
		}
	}
}

func (s *Server) output() []byte {
	out, err := os.ReadFile(s.log.Name())
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(out)
}

// Stop stops the server: SIGINT is a fast stop, SIGQUIT an immediate one, which recovers at the
// next start.
func (s *Server) Stop(sig syscall.Signal) error {
	if err := s.cmd.Process.Signal(sig); err != nil {
		return err
	}
	select {
	case <-s.done:
		return s.log.Close()
	case <-time.After(time.Minute):
		return fmt.Errorf("postgres does not stop: %s", s.output())
	}
}

// Unprivileged returns the attributes of a process that runs as the server does, and hands it some
// files.
func (s *Server) Unprivileged(t testing.TB, files ...string) *syscall.SysProcAttr {
	t.Helper()
	for _, f := range files {
		if s.identity == nil {
			break
		}
		if err := os.Chown(f, int(s.identity.Uid), int(s.identity.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	return &syscall.SysProcAttr{Credential: s.identity}
}

// PID is the server's process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Close stops the server and removes the cluster, but for data in a directory of their own.
func (s *Server) Close() error {
	sig := syscall.SIGQUIT
	if s.kept != "" {
		sig = syscall.SIGINT // a checkpoint: the next start need not recover
	}
	var err error
	select {
	case <-s.done:
	default:
		err = s.Stop(sig)
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
