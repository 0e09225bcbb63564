package pgtest

import (
	"bytes"
	"cmp"
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
	setup    Setup
	memory   *inMemory // has the data, unless it is nil
	settings []string
	identity *syscall.Credential
	port     string // "" is the default port
	cmd      *exec.Cmd
	log      *os.File
	done     chan struct{} // closed when the process has ended
}

// DSN returns the address of one of its databases.
func (s *Server) DSN(database string) string {
	dsn := "postgres://lastcall@/" + database + "?host=" + s.dir
	if s.port != "" {
		dsn += "&port=" + s.port
	}
	return dsn
}

// start creates a cluster for tests and starts it.
func start(settings ...string) (*Server, error) {
	return StartWith(Setup{Settings: settings, inMemory: true})
}

// StartIn starts a cluster for a program that is not a test, with its data in the given directory.
// The directory and the data are created if they do not exist, and Close does not remove them. If
// root runs the program, the user nobody must be able to enter the directory's parent.
func StartIn(data string, settings ...string) (*Server, error) {
	return StartWith(Setup{Data: data, Settings: settings})
}

// StartWith starts a cluster for a program that is not a test.
func StartWith(setup Setup) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	return (&Server{bin: bin, setup: setup, settings: setup.Settings}).begin()
}

// begin creates the server's directories and files, and starts it.
func (s *Server) begin() (_ *Server, err error) {
	if err = s.found(); err == nil {
		err = s.create()
	}
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}

// remove removes the server's directories, except those of its Setup.
func (s *Server) remove() error { return errors.Join(os.RemoveAll(s.dir), s.memory.remove()) }

// found creates the server's directories, before its first start.
func (s *Server) found() (err error) {
	s.done = make(chan struct{})
	close(s.done)
	if s.dir, err = os.MkdirTemp(cmp.Or(s.setup.Parent, "/tmp"), "lastcall-pg-"); err != nil {
		return err
	}
	if s.setup.inMemory {
		s.memory = newInMemory()
	}
	return s.own()
}

// own creates the data directory and makes the server's user the owner of the directories.
func (s *Server) own() error {
	if s.setup.Data != "" {
		if err := os.MkdirAll(s.setup.Data, 0o700); err != nil {
			return err
		}
	}
	if os.Getuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody") // PostgreSQL refuses to run as root
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
	dirs := []string{s.dir, s.setup.Data, s.setup.WAL}
	if s.memory != nil {
		dirs = append(dirs, s.memory.path)
	}
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		if _, err := s.Hand(dir); err != nil {
			return err
		}
	}
	return nil
}

// Hand makes the user that runs the server the owner of files, and returns the attributes of a
// process that runs as that user.
func (s *Server) Hand(files ...string) (*syscall.SysProcAttr, error) {
	for _, f := range files {
		if s.identity == nil {
			break
		}
		if err := os.Chown(f, int(s.identity.Uid), int(s.identity.Gid)); err != nil {
			return nil, err
		}
	}
	return &syscall.SysProcAttr{Credential: s.identity}, nil
}

// create creates the cluster's files, unless they exist.
func (s *Server) create() error {
	if _, err := os.Stat(filepath.Join(s.Data(), "PG_VERSION")); err == nil {
		return nil
	}
	if template.used && s.setup.WAL == "" && s.setup.SegmentMB == 0 {
		return s.copyTemplate()
	}
	return s.init()
}

// init creates the cluster's files with initdb.
func (s *Server) init() error {
	args := []string{
		"--pgdata", s.Data(), "--username", "lastcall", "--auth", "trust", "--encoding", "UTF8",
		"--locale", "C", "--no-sync",
	}
	if s.setup.WAL != "" {
		args = append(args, "--waldir", s.setup.WAL)
	}
	if s.setup.SegmentMB > 0 {
		args = append(args, "--wal-segsize", strconv.Itoa(s.setup.SegmentMB))
	}
	return s.Run("initdb", args...)
}

// Run runs one of PostgreSQL's programs as the server's user, in the directory of its socket.
func (s *Server) Run(program string, args ...string) error {
	cmd := exec.CommandContext(context.Background(), filepath.Join(s.bin, program), args...)
	cmd.Dir, cmd.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: s.identity}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return nil
}

// Host returns the directory of the server's socket, for host=DIRECTORY in an address.
func (s *Server) Host() string { return s.dir }

// Socket returns the path of the server's socket.
func (s *Server) Socket() string { return filepath.Join(s.dir, ".s.PGSQL."+cmp.Or(s.port, "5432")) }

// Data returns the data directory.
func (s *Server) Data() string {
	if s.memory != nil {
		return s.memory.path
	}
	return cmp.Or(s.setup.Data, filepath.Join(s.dir, "data"))
}

// Set adds settings, name=value, that apply from the server's next start on.
func (s *Server) Set(settings ...string) { s.settings = append(s.settings, settings...) }

// Done returns a channel that closes when the server's process ends. After the next Start it
// returns a new channel.
func (s *Server) Done() <-chan struct{} { return s.done }

// Start starts the server and returns when it accepts connections.
func (s *Server) Start() error {
	args := []string{"-D", s.Data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=200"}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	var err error
	if s.log, err = os.CreateTemp(s.dir, "log-"); err != nil {
		return err
	}
	s.cmd, s.done = exec.CommandContext(context.Background(), filepath.Join(s.bin, "postgres"), args...),
		make(chan struct{})
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, s.log, s.log
	if s.setup.Env != nil {
		s.cmd.Env = append(os.Environ(), s.setup.Env...)
	}
	// The server must end with the test, however the test ends. The kernel sends Pdeathsig when the
	// thread that started the server ends, so that thread waits for the server.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.identity, Pdeathsig: syscall.SIGQUIT}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // its error does not matter: done says that the server has ended
			close(s.done)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	return s.await()
}

// await waits until the server accepts connections.
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

// Stop stops the server: SIGINT is a fast shutdown; SIGQUIT is an immediate one, after which the
// server recovers at its next start.
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

// Unprivileged returns the attributes of a process that runs as the server's user, and makes that
// user the owner of files.
func (s *Server) Unprivileged(t testing.TB, files ...string) *syscall.SysProcAttr {
	t.Helper()
	attr, err := s.Hand(files...)
	if err != nil {
		t.Fatal(err)
	}
	return attr
}

// PID returns the id of the server's process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Close stops the server and removes the cluster, except the data directory of a Setup.
func (s *Server) Close() error {
	sig := syscall.SIGQUIT
	if s.setup.Data != "" {
		sig = syscall.SIGINT // with a checkpoint, so that the next start need not recover
	}
	var err error
	select {
	case <-s.done:
	default:
		err = s.Stop(sig)
	}
	return errors.Join(err, s.remove())
}
