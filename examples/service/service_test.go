//go:build linux

package main_test

import (
	"bytes"
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// lag is the time that a proxy needs to notice that a process is stopping.
const lag = 1500 * time.Millisecond

func TestService_ARolloutUnderLoadFailsNoRequestAndPrintsEachLabelOnce(t *testing.T) {
	t.Parallel()
	database := pgtest.DSN(t)
	now := start(t, database)
	load := newClients(8, now.api)
	for range 2 {
		before := load.done.Load()
		await(t, "orders are done", func() bool { return load.done.Load() > before+8 })
		old := now
		now = start(t, database)
		profile := make(chan struct{})
		go func() { // runs when the process ends, and holds up nothing
			defer close(profile)
			_, _, _ = get(old.debug + "/debug/pprof/profile?seconds=60")
		}()
		await(t, "the profile runs", func() bool {
			_, stacks, _ := get(old.debug + "/debug/pprof/goroutine?debug=2")
			return bytes.Contains(stacks, []byte("pprof.Profile("))
		})
		old.signal(syscall.SIGTERM)
		looked := make(chan struct{})
		go func() { defer close(looked); old.look() }()
		time.Sleep(lag)
		load.at.Store(&now.api)
		if code := old.code(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		<-looked
		<-profile
	}
	before := load.done.Load()
	await(t, "orders are done", func() bool { return load.done.Load() > before+8 })
	load.end(t)
	now.signal(syscall.SIGTERM)
	if code := now.code(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if orders, again := printed(t, database, "interruptions > 0"); again == 0 {
		t.Errorf("none of %d orders was handed over", orders)
	}
}

// look polls a stopping process until it no longer answers: profiles and metrics must answer for as
// long as clients are served.
func (p *instance) look() {
	drained := 0
	for {
		_, metrics, err := get(p.debug + "/metrics")
		if err == nil {
			_, _, err = get(p.debug + "/debug/pprof/cmdline")
		}
		if err != nil {
			break
		}
		if strings.Contains(string(metrics), "\nlastcall_stop_phase{phase=\"drain\"} 1\n") {
			drained++
		}
		time.Sleep(20 * time.Millisecond)
	}
	if drained < 3 {
		p.t.Errorf("profiles and metrics answered %d times in the stop", drained)
	}
	if c, err := net.DialTimeout("tcp", strings.TrimPrefix(p.api, "http://"), 10*time.Second); err == nil {
		c.Close()
		p.t.Error("profiles were gone before the service was")
	}
}

func TestService_KilledPrintsEachLabelOnce(t *testing.T) {
	t.Parallel()
	database := pgtest.DSN(t)
	now := start(t, database)
	load := newClients(8, now.api)
	for range 2 {
		before := load.done.Load()
		await(t, "orders are done", func() bool { return load.done.Load() > before+4 })
		release := holdCheckpoints(t, database)
		now.signal(syscall.SIGKILL)
		<-now.ended
		release()
		now = start(t, database)
		load.at.Store(&now.api)
	}
	load.enough.Store(true)
	load.working.Wait() // requests may fail while no process serves
	await(t, "all orders are done", func() bool { return unfinished(t, database) == 0 })
	if orders, again := printed(t, database, "crashes > 0"); again == 0 {
		t.Errorf("none of %d orders was gone on with", orders)
	}
	now.signal(syscall.SIGTERM)
	if code := now.code(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// holdCheckpoints blocks all checkpoints until it is released. It returns when every run has
// reached one, so that a process that is killed now is killed between a label and its checkpoint.
func holdCheckpoints(t *testing.T, database string) (release func()) {
	t.Helper()
	db, err := pgx.Connect(context.Background(), database)
	if err != nil {
		t.Fatal(err)
	}
	// Ends the transaction of a test that has failed.
	t.Cleanup(func() { db.Close(context.Background()) })
	if _, err := db.Exec(context.Background(), "begin; lock table lastcall.checkpoints in exclusive mode"); err != nil {
		t.Fatal(err)
	}
	labels, same := -1, 0
	await(t, "no run prints", func() bool {
		n := number(t, database, "select count(*) from labels")
		if same++; n != labels {
			labels, same = n, 0
		}
		return same > 10
	})
	return func() {
		if _, err := db.Exec(context.Background(), "rollback"); err != nil {
			t.Error(err)
		}
	}
}

// number queries the database for a number.
func number(t *testing.T, database, query string) (n int) {
	t.Helper()
	db, err := pgx.Connect(context.Background(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	if err := db.QueryRow(context.Background(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// unfinished returns the number of tasks that have not succeeded.
func unfinished(t *testing.T, database string) int {
	return number(t, database, "select count(*) from lastcall.task_records where status <> 'succeeded'")
}

// printed checks that each order has succeeded and has each of its labels once. It returns the
// number of orders, and the number of tasks that meet a condition.
func printed(t *testing.T, database, is string) (orders, again int) {
	t.Helper()
	orders = number(t, database, "select count(*) from orders")
	if n := unfinished(t, database); n > 0 {
		t.Errorf("%d of %d orders are not done", n, orders)
	}
	if n := number(t, database, "select count(*) from orders o where not exists (select from lastcall.task_records where id::text = o.id)"); n > 0 {
		t.Errorf("%d orders have no task", n)
	}
	if n := number(t, database, "select count(*) from lastcall.task_records where id::text not in (select id from orders)"); n > 0 {
		t.Errorf("%d tasks have no order", n)
	}
	if n := number(t, database, `select count(*) from orders o where o.lines <> (select count(*) from labels where order_id = o.id)
		or o.lines <> (select count(distinct line) from labels where order_id = o.id)`); n > 0 {
		t.Errorf("%d of %d orders have labels that are missing or there twice", n, orders)
	}
	return orders, number(t, database, "select count(*) from lastcall.task_records where "+is)
}

// README.md states this.
func TestService_HasAtMost60LinesThatAreNotTheBusiness(t *testing.T) {
	text, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, "main.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	lines, n := strings.Split(string(text), "\n"), 0
	for _, d := range parsed.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.IMPORT {
			continue
		}
		for _, line := range lines[files.Position(d.Pos()).Line-1 : files.Position(d.End()).Line] {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
				n++
			}
		}
	}
	if n < 30 || n > 60 {
		t.Errorf("main.go has %d lines without its imports", n)
	}
}
