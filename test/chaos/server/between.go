//go:build linux

package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// tool finds a program or a library: in the directory .bin of the repository, where make setup
// installs it, or at the place that a pattern names.
func tool(name, pattern string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if path := filepath.Join(dir, ".bin", name); exists(path) {
			return path, nil
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	if found, _ := filepath.Glob(pattern); len(found) > 0 { // the pattern is valid
		return found[0], nil
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("there is no %s: make setup brings it", name)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func pgbouncer() (string, error) { return tool("pgbouncer", "/usr/sbin/pgbouncer") }

func hasPooler() error {
	_, err := pgbouncer()
	return err
}

func libfaketime() (string, error) {
	return tool("libfaketime.so.1", "/usr/lib/*/faketime/libfaketime.so.1")
}

func hasFaketime() error {
	_, err := libfaketime()
	return err
}

// pool puts PgBouncer between the entrance and the server.
func (c *Cluster) pool(ctx context.Context, mode string) (ending, error) {
	socket, kill, err := c.startPooler(ctx, c.server(), mode)
	if err != nil {
		return nil, err
	}
	c.opts.Entrance.Lead(socket)
	c.opts.Entrance.Cut()
	return func(ctx context.Context) (string, error) { return "", errors.Join(c.lead(ctx, c.server()), kill()) }, nil
}

// startPooler starts a PgBouncer in front of a server. It returns its socket, and a function that
// ends it.
func (c *Cluster) startPooler(ctx context.Context, s *pgtest.Server, mode string) (socket string, kill func() error, err error) {
	program, err := pgbouncer()
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp(c.dir, "pooler-")
	if err != nil {
		return "", nil, err
	}
	kill = func() error { return nil }
	defer func() {
		if err != nil {
			err = errors.Join(err, kill(), os.RemoveAll(dir))
		}
	}()
	config := filepath.Join(dir, "pgbouncer.ini")
	err = os.WriteFile(config, fmt.Appendf(nil, "[databases]\n* = user=%s host=%s\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = %s\nlisten_port = 6432\nauth_type = any\npool_mode = %s\n"+
		"max_client_conn = 500\ndefault_pool_size = 60\nserver_login_retry = 1\nignore_startup_parameters = extra_float_digits\n", Role, s.Host(), dir, mode), 0o600)
	if err != nil {
		return "", nil, err
	}
	attr, err := s.Hand(dir, config)
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(context.Background(), program, config)
	cmd.SysProcAttr = attr
	end, err := launch(cmd)
	if err != nil {
		return "", nil, err
	}
	kill = end
	if err := answers(ctx, poolerAddress(dir)); err != nil {
		return "", nil, err
	}
	return filepath.Join(dir, ".s.PGSQL.6432"), func() error { return errors.Join(end(), os.RemoveAll(dir)) }, nil
}

// poolerAddress returns the address of a pooler whose socket is in a directory.
func poolerAddress(dir string) string {
	return "postgres://" + Role + "@/" + Database + "?port=6432&default_query_exec_mode=exec&host=" + dir
}

// answers waits until the server answers at an address. A pooler accepts connections even without
// the server.
func answers(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, address)
		if err == nil {
			_, err = conn.Exec(ctx, `select 1`)
			if err = errors.Join(err, conn.Close(ctx)); err == nil {
				return nil
			}
		}
		if !pause(ctx, again) {
			return err
		}
	}
}

// launch starts a program that ends with this process, however that ends. It returns a function
// that ends the program.
func launch(cmd *exec.Cmd) (kill func() error, err error) {
	var log bytes.Buffer
	if cmd.Stderr == nil {
		cmd.Stderr = &log
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started, ended := make(chan error), make(chan struct{})
	go func() { // this ends with the program: the signal is sent when the thread that started it ends
		defer close(ended)
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return func() error {
		err := cmd.Process.Kill()
		<-ended
		if errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("%s had ended: %s", filepath.Base(cmd.Path), bytes.TrimSpace(log.Bytes()))
		}
		return err
	}, nil
}

// ownClock gives the servers a clock that can be stepped.
func (c *Cluster) ownClock() error {
	library, err := libfaketime()
	if err != nil {
		return err
	}
	c.clock = filepath.Join(c.dir, "clock")
	c.env = []string{"LD_PRELOAD=" + library, "FAKETIME_TIMESTAMP_FILE=" + c.clock, "FAKETIME_CACHE_DURATION=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"}
	return c.setClock("+0")
}

// setClock writes the offset of the servers' clock, in seconds.
func (c *Cluster) setClock(offset string) error {
	if err := os.WriteFile(c.clock+".new", []byte(offset+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(c.clock+".new", c.clock)
}

// stepClock steps the servers' clock, which takes effect within two seconds, and steps it back at
// the end.
func (c *Cluster) stepClock(_ context.Context, offset string) (ending, error) {
	if c.clock == "" {
		return nil, errors.New("the server has the machine's clock: the fault was not asked for when it was started")
	}
	if err := c.setClock(offset); err != nil {
		return nil, err
	}
	return func(context.Context) (string, error) { return "", c.setClock("+0") }, nil
}
