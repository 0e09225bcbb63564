//go:build linux

package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lastcall-go/lastcall/test/chaos/proxy"
)

// rig is a cluster with a table, and a process that uses it through a proxy.
type rig struct {
	*testing.T
	*Cluster
	front *proxy.Front
	next  int
}

// directory returns a directory with a short path. After the test, no file and no process may be
// left in it.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "chaos-") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, what := range leftIn(dir) {
			t.Errorf("left: %s", what)
		}
		if err := Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// leftIn lists what is left of a directory: files, mounts, and processes with it in their
// arguments.
func leftIn(dir string) (left []string) {
	entries, _ := os.ReadDir(dir) // a removed one has no entries
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".s.PGSQL.") { // except the sockets of the test's own proxy
			left = append(left, e.Name())
		}
	}
	if mounts, _ := os.ReadFile("/proc/self/mounts"); strings.Contains(string(mounts), dir) {
		left = append(left, "a mount")
	}
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		if line, _ := os.ReadFile(path); strings.Contains(string(line), dir) { // it may have ended
			left = append(left, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return left
}

func newRig(t *testing.T, kinds ...string) *rig {
	t.Helper()
	return newRigOf(t, Options{Faults: kinds})
}

func newRigOf(t *testing.T, opts Options) *rig {
	t.Helper()
	dir := directory(t)
	p := proxy.New(dir)
	opts.Dir, opts.Entrance, opts.Schema = dir, p, "work"
	c, err := New(t.Context(), opts)
	t.Cleanup(func() {
		if c != nil {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	front, err := p.Front("a")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, Cluster: c, front: front}
	r.must(`create schema work`, `create table work.rows (n integer, filler text)`, `create table work.others (n integer primary key)`)
	return r
}

// soon bounds operations that take no time.
func (r *rig) soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), 20*time.Second)
}

// try runs statements in a new session, as a process of the run.
func (r *rig) try(statements ...string) error {
	ctx, cancel := r.soon()
	defer cancel()
	conn, err := pgx.Connect(ctx, r.front.Address(Role, Database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) must(statements ...string) {
	r.Helper()
	if err := r.try(statements...); err != nil {
		r.Fatal(err)
	}
}

// fails checks that statements fail with a code.
func (r *rig) fails(code string, statements ...string) {
	r.Helper()
	if got := codeOf(r.try(statements...)); got != code {
		r.Errorf("%q: %s, want %s", statements, got, code)
	}
}

// codeOf returns the server's code of an error, or the error's text.
func codeOf(err error) string {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		return said.Code
	}
	return fmt.Sprint(err)
}

// insert writes a new row, and returns its number.
func (r *rig) insert() int {
	r.Helper()
	r.next++
	r.must(fmt.Sprintf(`insert into work.rows values (%d)`, r.next))
	return r.next
}

// answer queries a number or a text.
func (r *rig) answer(sql string) string {
	r.Helper()
	ctx, cancel := r.soon()
	defer cancel()
	conn, err := pgx.Connect(ctx, r.front.Address(Role, Database))
	if err != nil {
		r.Fatal(err)
	}
	defer conn.Close(ctx)
	var got any
	if err := conn.QueryRow(ctx, sql).Scan(&got); err != nil {
		r.Fatalf("%s: %v", sql, err)
	}
	return fmt.Sprint(got)
}

// has reports whether there is a row.
func (r *rig) has(n int) bool {
	r.Helper()
	return r.answer(fmt.Sprintf(`select exists (select from work.rows where n = %d)`, n)) == "true"
}

// begin begins a fault.
func (r *rig) begin(kind string) (end func() string) {
	r.Helper()
	finish, err := r.Begin(r.Context(), kind)
	if err != nil {
		r.Fatal(err)
	}
	return func() string {
		r.Helper()
		detail, err := finish()
		if err != nil {
			r.Fatal(err)
		}
		r.Log(detail)
		return detail
	}
}
