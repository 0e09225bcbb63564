//go:build linux

package attack

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// database is one in which the role evil may connect and create objects in the schema public, as
// everybody could up to PostgreSQL 14. The role mig owns the migrated tables; lc is the servers'
// role.
type database struct {
	t       *testing.T
	cluster *pgtest.Server
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	d := &database{t: t, cluster: pgtest.New(t, "fsync=off")}
	if err := os.Chmod(d.cluster.Host(), 0o711); err != nil { //nolint:gosec // servers and attackers are other users
		t.Fatal(err)
	}
	d.exec("postgres", "lastcall", "create role evil login", "create role mig login", "create role lc login", "create database app")
	d.exec("app", "lastcall", "grant create on database app to mig", "grant create, usage on schema public to public")
	return d
}

func (d *database) dsn(name, role string) string {
	return strings.Replace(d.cluster.DSN(name), "//lastcall@", "//"+role+"@", 1)
}

func (d *database) connect(name, role string) *pgx.Conn {
	d.t.Helper()
	conn, err := pgx.Connect(d.t.Context(), d.dsn(name, role))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = conn.Close(ctx) // the cluster may be gone
	})
	return conn
}

func (d *database) exec(name, role string, statements ...string) {
	d.t.Helper()
	conn := d.connect(name, role)
	for _, s := range statements {
		if _, err := conn.Exec(d.t.Context(), s); err != nil {
			d.t.Fatalf("%.300s: %v", s, err)
		}
	}
}

// migrate creates the tables as mig, and grants lc the use of them.
func (d *database) migrate(c *cage) {
	d.t.Helper()
	if code, out := c.run(nil, "migrate", "up", "--store", d.dsn("app", "mig")); code != 0 {
		d.t.Fatalf("migrate up: %d %s", code, out)
	}
	d.exec("app", "mig", "grant usage on schema lastcall to lc", "grant select, insert, update, delete on all tables in schema lastcall to lc")
}

// planting creates the traps. Each runs code of evil's that leaves a trace in a sequence, which no
// rollback undoes. Operators are planted where the server has no exact match, so that it has to
// choose one.
const planting = `
create sequence public.hits;
grant all on sequence public.hits to public;
create table public.tasks (id text, kind text, payload text);
create table public.workers (id text);
do $plant$
declare
	types constant text[] := '{int2,int4,int8,numeric,float8,text,varchar,timestamptz,interval,uuid,bytea,jsonb,oid,bool,"text[]","int4[]"}';
	body constant text := ' language plpgsql as $f$ begin perform pg_catalog.nextval(''public.hits''); return null; end $f$';
	l text; r text; f record; op text; n int := 0;
begin
	foreach l in array types loop foreach r in array types loop
		execute pg_catalog.format('create function public.planted_bool(%s, %s) returns bool', l, r) || body;
		execute pg_catalog.format('create function public.planted(%s, %s) returns %s', l, r, l) || body;
		foreach op in array '{+,-,*,/,||,<,>,<=,>=,=,<>}'::text[] loop
			if pg_catalog.to_regoperator(pg_catalog.format('pg_catalog.%s(%s,%s)', op, l, r)) is null then
				execute pg_catalog.format('create operator public.%s (leftarg = %s, rightarg = %s, function = public.%s)',
					op, l, r, case when op ~ '[<>=]' then 'planted_bool' else 'planted' end);
				n := n + 1;
			end if;
		end loop;
	end loop; end loop;
	for f in select distinct on (p.proname) p.proname as name, pg_catalog.format_type(p.prorettype, null) as result
			from pg_catalog.pg_proc p where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f'
			and p.prorettype not in ('internal'::regtype, 'cstring'::regtype) and p.proname = any ($names$NAMES$names$::name[]) loop
		foreach l in array types loop
			begin
				execute pg_catalog.format('create function public.%I(%s) returns %s', f.name, l, f.result) ||
					case f.result when 'void' then pg_catalog.replace(body, 'return null; ', '') else body end;
				n := n + 1;
			exception when others then null; -- pseudo-types that need an argument of theirs
			end;
			foreach r in array types loop
				begin
					execute pg_catalog.format('create function public.%I(%s, %s) returns %s', f.name, l, r, f.result) ||
						case f.result when 'void' then pg_catalog.replace(body, 'return null; ', '') else body end;
					n := n + 1;
				exception when others then null;
				end;
			end loop;
		end loop;
	end loop;
	if n < 2000 then raise exception 'only % are planted', n; end if;
end $plant$`

// called returns the names of the functions that the statements of pgstore and its tables call.
func called(t *testing.T) string {
	t.Helper()
	var names []string
	for _, pattern := range []string{"sql/*.sql", "schema/*.sql", "*.go"} {
		files, err := filepath.Glob("../../task/pgstore/" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files (%v)", pattern, len(files), err)
		}
		for _, file := range files {
			for _, m := range regexp.MustCompile(`\b([a-z_]{3,40})\(`).FindAllStringSubmatch(read(t, file), -1) {
				names = append(names, m[1])
			}
		}
	}
	slices.Sort(names)
	return "{" + strings.Join(slices.Compact(names), ",") + "}"
}

func TestPostgres_NoCodeThatAnotherRoleHasPlantedRuns(t *testing.T) {
	t.Parallel()
	d, c := newDatabase(t), newCage(t)
	d.exec("app", "evil", strings.Replace(planting, "NAMES", called(t), 1))
	look := d.connect("app", "lastcall")
	hit := func() (yes bool) {
		t.Helper()
		if err := look.QueryRow(t.Context(), "select is_called from public.hits").Scan(&yes); err != nil {
			t.Fatal(err)
		}
		d.exec("app", "lastcall", "alter sequence public.hits restart")
		return yes
	}
	hits := func(where string) {
		t.Helper()
		if hit() {
			t.Errorf("planted code ran: %s", where)
		}
	}
	// A trap works where its schema is in the search path.
	d.exec("app", "evil", "select 2::numeric * 3::int4")
	if !hit() {
		t.Fatal("what was planted does not run for anybody")
	}
	d.migrate(c)
	hits("migrate up")

	store := d.dsn("app", "lc")
	config := c.hostileKinds("ignore-signals")
	args := []string{"--store", store, "--config", config, "--grace", "3s"}
	one := c.launch(order{Args: args, Env: []string{"LASTCALL_ATTACK_DIR=" + c.dir}}, nil)
	hits("serve")
	done := one.submit("harmless", "{}", "")
	until(t, "the task has succeeded", func() bool { return one.status(done) == "succeeded" })
	hits("a task")
	held := one.submit("ignore-signals", "{}", "")
	one.begins(held)
	two := c.launch(order{Args: args, Env: []string{"LASTCALL_ATTACK_DIR=" + c.dir}}, nil)
	if err := one.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	until(t, "the killed server's task has ended elsewhere", func() bool {
		s := two.status(held)
		return s == "failed" || s == "cancelled"
	})
	hits("take-over")
	later := two.submit("nobody-knows-it", "{}", "")
	for _, args := range [][]string{
		{"list"}, {"show", later}, {"cancel", later}, {"retry", later}, {"cancel", later}, {"pause", "q"}, {"resume", "q"}, {"workers"}, {"doctor"},
		{"submit", "k", "{}"}, {"submit", "k", "{}", "--key", "a", "--delay", "1h", "--priority", "3"}, {"migrate", "status"},
	} {
		if code, out := c.run(nil, append([]string{args[0], "--store", store}, args[1:]...)...); code != 0 && args[0] != "doctor" && args[0] != "migrate" {
			t.Errorf("%q: %d %s", args, code, out)
		}
		hits(strings.Join(args, " "))
	}
	for _, path := range []string{"/v1/counts", "/v1/queues", "/metrics", "/v1/tasks?status=failed&kind=k"} {
		if status, answer := two.ask(http.MethodGet, path, "", ""); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, answer)
		}
		hits(path)
	}
	two.stop(4 * time.Second)
	hits("stop")
}

func TestPostgres_LocksOfAnotherRoleHoldUpNoSubmitAndNoTakeOver(t *testing.T) {
	t.Parallel()
	d, c := newDatabase(t), newCage(t)
	d.migrate(c)
	args := []string{"--store", d.dsn("app", "lc"), "--config", c.hostileKinds("ignore-signals")}
	o := order{Args: args, Env: []string{"LASTCALL_ATTACK_DIR=" + c.dir}}
	one, two := c.launch(o, nil), c.launch(o, nil)
	held := one.submit("ignore-signals", "{}", "")
	one.begins(held)
	waiting := d.queueForLocks()
	for n := range 3 {
		by := within(3 * time.Second)
		status, answer := two.ask(http.MethodPost, "/v1/tasks", "", fmt.Sprintf(`{"kind":"new%d","queue":"new%d","payload":{}}`, n, n))
		if status != http.StatusCreated || time.Now().After(by) {
			t.Errorf("while another role has locks, a submit is answered %d %s", status, answer)
			break
		}
	}
	if err := one.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	by := within(5 * time.Second) // the lease is 15 s
	if !poll(by, func() bool { return two.status(held) != "running" || two.runs(held) > 1 }) {
		t.Errorf("while another role waits for %d locks, the task of a killed server is taken up by nobody", waiting)
	}
}

// queueForLocks makes evil take the advisory locks whose keys anybody can compute, and queue for
// all locks that others hold, whose keys are visible to everybody.
func (d *database) queueForLocks() (waiting int) {
	d.t.Helper()
	evil := d.connect("app", "evil")
	keys, err := evil.Query(d.t.Context(), "select classid::int8 << 32 | objid::int8 from pg_locks where locktype = 'advisory' and objsubid = 1 and granted")
	if err != nil {
		d.t.Fatal(err)
	}
	all, err := pgx.CollectRows(keys, pgx.RowTo[int64])
	if err != nil {
		d.t.Fatal(err)
	}
	if len(all) == 0 {
		d.t.Log("nobody has an advisory lock to wait for: only those whose keys can be computed are taken")
	}
	for _, known := range []string{
		"select count(*) from generate_series(-10, 2000) n where pg_try_advisory_lock('lastcall'::regnamespace::oid::int4, n)",
		"select pg_try_advisory_lock(hashtextextended('counts', 'lastcall'::regnamespace::oid::bigint))",
	} {
		if _, err := evil.Exec(d.t.Context(), known); err != nil {
			d.t.Fatal(err)
		}
	}
	for _, key := range all {
		conn := d.connect("app", "evil")
		var done sync.WaitGroup
		ctx, cancel := context.WithCancel(d.t.Context())
		// It waits until it is cancelled.
		done.Go(func() { _, _ = conn.Exec(ctx, "select pg_advisory_lock($1)", key) })
		d.t.Cleanup(func() { cancel(); done.Wait() })
	}
	until(d.t, "evil waits", func() bool {
		var n int
		if err := evil.QueryRow(d.t.Context(), "select count(*) from pg_locks where locktype = 'advisory' and not granted").Scan(&n); err != nil {
			d.t.Fatal(err)
		}
		return n >= len(all)
	})
	return len(all)
}
