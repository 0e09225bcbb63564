//go:build linux

package server

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/test/chaos/proxy"
)

// down expects that there is no server from the beginning to the end, and that nothing is lost.
func down(r *rig, kind string) {
	before := r.insert()
	end := r.begin(kind)
	if err := r.try(`select 1`); err == nil {
		r.Error("the server is there")
	}
	end()
	if r.insert(); !r.has(before) {
		r.Error("a row is gone")
	}
}

// loses expects that rows written before the beginning are kept. Rows written after it must be lost
// or kept, depending on lost.
func loses(lost bool) func(r *rig, kind string) {
	return func(r *rig, kind string) {
		before := r.insert()
		end := r.begin(kind)
		after := r.insert()
		end()
		if !r.has(before) || r.has(after) == lost {
			r.Errorf("a row from before: %v, one from after: %v", r.has(before), r.has(after))
		}
		r.insert()
	}
}

// refuses expects that some statements fail with a code, that others work, and that all work
// afterwards.
func refuses(code, refused, works string) func(r *rig, kind string) {
	return func(r *rig, kind string) {
		r.insert()
		end := r.begin(kind)
		r.fails(code, `set lock_timeout = '100ms'`, refused)
		r.must(works)
		end()
		r.must(refused, works)
	}
}

func pooled(mode string) func(r *rig, kind string) {
	return func(r *rig, kind string) {
		end := r.begin(kind)
		ctx, cancel := r.soon()
		defer cancel()
		conn, err := pgx.Connect(ctx, r.front.Address(Role, "pgbouncer")+"&default_query_exec_mode=simple_protocol")
		if err != nil {
			r.Fatal(err)
		}
		rows, err := conn.Query(ctx, `show config`)
		if err != nil {
			r.Fatal(err)
		}
		found := false
		for rows.Next() {
			values, err := rows.Values()
			if err != nil {
				r.Error(err)
			}
			found = found || len(values) > 1 && values[0] == "pool_mode" && values[1] == mode
		}
		if err := errors.Join(rows.Err(), conn.Close(ctx)); err != nil || !found {
			r.Errorf("the mode is %s: %v, %v", mode, found, err)
		}
		r.insert()
		end()
		r.insert()
	}
}

func injects(code string) func(r *rig, kind string) {
	return func(r *rig, kind string) {
		end := r.begin(kind)
		failed := 0
		for n := range 100 {
			switch err := r.try(fmt.Sprintf(`insert into work.rows values (%d)`, -n)); {
			case err == nil:
			case codeOf(err) == code:
				failed++
			default:
				r.Error(err)
			}
		}
		if failed == 0 || failed > 50 {
			r.Errorf("%d of 100 failed", failed)
		}
		end()
		for range 20 {
			r.insert()
		}
	}
}

// steps expects a server whose clock is off by the given time.
func steps(by time.Duration) func(r *rig, kind string) {
	return func(r *rig, kind string) {
		differs := func(by time.Duration) {
			r.Helper()
			for began := time.Now(); ; pause(r.Context(), again) {
				var at time.Time
				ctx, cancel := r.soon()
				err := r.with(ctx, func(c *pgx.Conn) error { return c.QueryRow(ctx, `select clock_timestamp()`).Scan(&at) })
				cancel()
				if err != nil {
					r.Fatal(err)
				}
				if d := time.Until(at) - by; d.Abs() < time.Minute {
					return
				}
				if time.Since(began) > 10*time.Second {
					r.Fatalf("the clock differs by %v, want %v", time.Until(at), by)
				}
			}
		}
		end := r.begin(kind)
		differs(by)
		r.insert()
		end()
		differs(0)
		r.insert()
	}
}

// fills expects that the server accepts rows until the disk is full, and has all of them
// afterwards.
func fills(r *rig, kind string) {
	end := r.begin(kind)
	var err error
	first, accepted := r.next+1, 0
	for err == nil && accepted < 1000 {
		r.next++
		if err = r.try(fmt.Sprintf(`insert into work.rows select %d, string_agg(md5(i::text), '') from generate_series(1, 20000) i`, r.next)); err == nil {
			accepted++
		}
	}
	if err == nil {
		r.Fatal("the disk does not get full")
	}
	r.Logf("after %d: %v", accepted, err)
	end()
	ctx, cancel := r.soon()
	defer cancel()
	// The server may be about to notice that a session has crashed.
	for r.try(`select pg_sleep(0.2)`) != nil {
		if !pause(ctx, again) {
			r.Fatal("the server does not come back")
		}
	}
	for n := range accepted {
		if !r.has(first + n) {
			r.Errorf("row %d of %d is gone", n, accepted)
		}
	}
	r.must(`truncate work.rows`)
	r.insert()
}

const insertBoth = `with a as (insert into work.rows values (0)) insert into work.others select coalesce(max(n), 0) + 1 from work.others`

// effects are the expected effects of each fault.
var effects = map[string]func(r *rig, kind string){
	RestartFast:      down,
	RestartImmediate: down,
	CrashUnsynced:    loses(true),
	FailoverSync:     loses(false),
	FailoverAsync:    loses(true),
	StandbyOnly:      refuses("25006", `insert into work.rows values (0)`, `select * from work.rows`),
	ReadOnly:         refuses("25006", `insert into work.rows values (0)`, `select * from work.rows`),
	OutOfConnections: func(r *rig, kind string) {
		ctx, cancel := r.soon()
		defer cancel()
		conn, err := pgx.Connect(ctx, r.front.Address(Role, Database))
		if err != nil {
			r.Fatal(err)
		}
		defer conn.Close(ctx)
		end := r.begin(kind)
		r.fails("53300", `select 1`)
		if _, err := conn.Exec(ctx, `select 1`); err != nil {
			r.Errorf("a session from before: %v", err)
		}
		end()
		r.insert()
	},
	DiskFullData:      fills,
	DiskFullWAL:       fills,
	PoolerSession:     pooled("session"),
	PoolerTransaction: pooled("transaction"),
	Serialization:     injects("40001"),
	Deadlocks:         injects("40P01"),
	LockExclusive:     refuses("55P03", `select from work.rows, work.others`, `select 1`),
	CreateIndex:       refuses("55P03", insertBoth, `select from work.rows, work.others`),
	Reindex:           refuses("55P03", insertBoth, `select 1`),
	VacuumFull: func(r *rig, kind string) {
		const place = `select pg_relation_filenode('work.rows')`
		before := r.answer(place)
		if r.begin(kind)(); r.answer(place) == before {
			r.Error("the table is where it was")
		}
	},
	LongSnapshot: func(r *rig, kind string) {
		end := r.begin(kind)
		r.insert()
		r.must(`delete from work.rows`)
		ctx, cancel := r.soon()
		defer cancel()
		kept := func() int64 {
			r.Helper()
			if err := r.do(ctx, `vacuum work.rows`); err != nil {
				r.Fatal(err)
			}
			n, err := r.number(ctx, `select pg_relation_size('work.rows')`)
			if err != nil {
				r.Fatal(err)
			}
			return n
		}
		if kept() == 0 {
			r.Error("the dead row was removed")
		}
		end()
		for kept() > 0 { // until the session has ended
			if !pause(ctx, again) {
				r.Fatal("the dead row is still there")
			}
		}
	},
	Publication: refuses("55000", `update work.rows set n = n`, `insert into work.rows values (0)`),
	DumpAndRestore: func(r *rig, kind string) {
		before, address := r.insert(), r.Address()
		r.begin(kind)()
		if !r.has(before) || r.Address() == address {
			r.Errorf("the server is at %s, the row is there: %v", r.Address(), r.has(before))
		}
		r.insert()
	},
	ClockForward: steps(time.Hour),
	ClockBack:    steps(-time.Hour),
}

// slow are faults of which a faster, similar one is tested anyway.
var slow = []string{ClockForward, ClockBack, FailoverSync, StandbyOnly, DumpAndRestore, Deadlocks, PoolerTransaction}

func TestCluster_EachFaultDoesWhatItSaysAndNothingIsLeft(t *testing.T) {
	var kinds []string
	for _, f := range ClusterFaults() {
		if f.Needs() == nil {
			kinds = append(kinds, f.Kind)
		}
	}
	r := newRig(t, kinds...)
	for _, f := range ClusterFaults() {
		t.Run(f.Kind, func(t *testing.T) {
			if err := f.Needs(); err != nil {
				t.Skip(err)
			}
			if testing.Short() && slices.Contains(slow, f.Kind) {
				t.Skip("make test-full: " + f.Kind)
			}
			effect := effects[f.Kind]
			if effect == nil {
				t.Fatal("there is no test of it")
			}
			one := *r
			one.T = t
			effect(&one, f.Kind)
			r.next = one.next
		})
	}
}

func TestCluster_CloseEndsWhatHasNotEndedAlsoWhenTheCallerPanics(t *testing.T) {
	dir := directory(t)
	p := proxy.New(dir)
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	func() {
		defer func() { _ = recover() }() // the panic is the caller's own
		c, err := New(t.Context(), Options{Dir: dir, Entrance: p, Schema: "pg_catalog"})
		if err != nil {
			t.Error(err)
			return
		}
		defer func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}()
		for _, kind := range []string{LongSnapshot, OutOfConnections, FailoverAsync} {
			if _, err := c.Begin(t.Context(), kind); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
		panic("the run is broken")
	}()
	for _, what := range leftIn(dir) {
		t.Errorf("left: %s", what)
	}
}

func TestCluster_APoolerOfTheRunIsBeforeEveryServer(t *testing.T) {
	if testing.Short() {
		t.Skip("make test-full: a pooler before four servers, one after the other")
	}
	if err := errors.Join(hasPooler(), hasStandby(), hasDump()); err != nil {
		t.Skip(err)
	}
	r := newRigOf(t, Options{Pooler: "session"})
	before := r.insert()
	for _, kind := range []string{RestartImmediate, FailoverSync, StandbyOnly, DumpAndRestore} {
		r.begin(kind)()
		if conn, err := pgx.Connect(t.Context(), r.front.Address(Role, "pgbouncer")+"&default_query_exec_mode=simple_protocol"); err != nil {
			t.Errorf("after %s there is no pooler: %v", kind, err)
		} else if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if r.insert(); !r.has(before) {
			t.Errorf("a row is gone after %s", kind)
		}
	}
}
