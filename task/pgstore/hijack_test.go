package pgstore

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storetest"
)

// hostile is a server with a database in whose schema public every role may create. There the role
// evil has created functions, operators, types, collations and tables with the names that the
// store's statements use. Each function counts its calls, which no rollback undoes, and raises
// HIJACK.
type hostile struct {
	*testing.T
	server *pgtest.Server
	victim string // the address for the role victim, which owns the database
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	server := pgtest.New(t, "fsync=off", "full_page_writes=off", "max_locks_per_transaction=256")
	admin := server.DSN("postgres")
	exec(t, admin, `create role evil login`, `create role victim login`, `create database app owner victim`)
	app := server.DSN("app")
	exec(t, app, `grant create on schema public to public`)
	as := func(role string) string { return strings.Replace(app, "lastcall@", role+"@", 1) }
	functions, operators := namesInUse(t)
	started := time.Now()
	c, err := pgx.Connect(t.Context(), as("evil"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for _, sql := range []string{
		`create sequence public.hijacked`, `grant usage on sequence public.hijacked to public`,
		`create type public.uuid as enum ('HIJACK')`, `create type public.text as enum ('HIJACK')`, `create type public.timestamptz as enum ('HIJACK')`,
		`create type public.bytea as enum ('HIJACK')`, `create type public.regnamespace as enum ('HIJACK')`, `create type public.oid as enum ('HIJACK')`,
		`create collation public."C" from "POSIX"`, plantTables, plantFunctions, plantAggregates, plantOperators,
	} {
		if _, err := c.Exec(t.Context(), `select set_config('hijack.functions', $1, false), set_config('hijack.operators', $2, false)`,
			strings.Join(functions, " "), strings.Join(operators, " ")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%.80s: %v", sql, err)
		}
	}
	planted := ask(t, app, `select count(*) from pg_proc where proowner = 'evil'::regrole`)
	t.Logf("%d functions and %d operators planted in %v", planted, ask(t, app, `select count(*) from pg_operator where oprowner = 'evil'::regrole`), time.Since(started).Round(time.Millisecond))
	return &hostile{T: t, server: server, victim: as("victim")}
}

// namesInUse returns the words of this package's files that a statement can call, and the operators
// in its statements.
func namesInUse(t *testing.T) (functions, operators []string) {
	t.Helper()
	call, sign := regexp.MustCompile(`\b([a-z_0-9]+)\(`), regexp.MustCompile(`[-+*/<>=~!@#%^&|]+`)
	for _, pattern := range []string{"sql/*.sql", "schema/*.sql", "*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range call.FindAllStringSubmatch(string(text), -1) {
				functions = append(functions, m[1])
			}
			if strings.HasSuffix(file, ".sql") {
				operators = append(operators, sign.FindAllString(string(text), -1)...)
			}
		}
	}
	// Like, in, between, a row's comparison.
	operators = append(operators, "~~", "=", "<>", "<", "<=", ">", ">=", "||")
	for _, all := range []*[]string{&functions, &operators} {
		slices.Sort(*all)
		*all = slices.Compact(*all)
	}
	return functions, operators
}

// unharmed checks that nothing of the role evil has run.
func (h *hostile) unharmed(what string) {
	h.Helper()
	if calls := ask(h.T, h.server.DSN("app"), `select case when is_called then last_value else 0 end from public.hijacked`); calls > 0 {
		h.Errorf("%s: evil's functions were called %d times", what, calls)
	}
}

const plantTables = `do $$ declare name text; begin
	foreach name in array array['lastcall', 'tasks', 'ready', 'delayed', 'running', 'ended', 'runs', 'checkpoints', 'logs', 'keys', 'paused', 'workers', 'counts', 'channel',
		'task_records', 'pg_class', 'pg_namespace', 'pg_settings', 'pg_stat_activity', 'pg_stat_user_tables', 'changes', 'deleted', 'outcome', 'wanted', 'picked'] loop
		execute format('create table public.%I (hijack integer)', name);
	end loop;
end $$`

// plantFunctions creates each function of the server whose name is in use with other types of
// arguments: for one or two arguments all pairs of many types, for more arguments all combinations
// of a few.
const plantFunctions = `do $$ declare
	kinds text[] := array['integer', 'bigint', 'numeric', 'double precision', 'pg_catalog.text', 'name', 'timestamp with time zone', 'interval', 'pg_catalog.bytea', 'pg_catalog.uuid', 'boolean',
		'pg_catalog.oid', 'regclass', 'pg_catalog.text[]', 'pg_catalog.uuid[]', 'bigint[]', 'integer[]', 'boolean[]', 'pg_catalog.bytea[]', 'double precision[]', 'timestamp with time zone[]',
		'anyelement', 'anyarray', 'anynonarray'];
	few text[] := array['integer', 'bigint', 'double precision', 'pg_catalog.text', 'boolean', 'pg_catalog.uuid[]', 'anyelement'];
	f record; args text; result text;
begin
	for f in select distinct p.proname::pg_catalog.text as name, p.pronargs as n, p.proretset as many, format_type(p.prorettype, null) as result
		from pg_catalog.pg_proc p where p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace and p.prokind = 'f' and p.pronargs <= 3
			and p.proname::pg_catalog.text = any (string_to_array(current_setting('hijack.functions'), ' ')) and format_type(p.prorettype, null) not in ('internal', 'trigger', 'cstring')
	loop
		for args in
			select '' where f.n = 0
			union all select a from unnest(kinds) a where f.n = 1
			union all select a || ', ' || b from unnest(kinds) a, unnest(kinds) b where f.n = 2
			union all select a || ', ' || b || ', ' || c from unnest(few) a, unnest(few) b, unnest(few) c where f.n = 3
		loop
			result := case when f.result not like 'any%' then f.result when args = '' then 'pg_catalog.text'
				when f.result like '%array' and split_part(args, ', ', 1) not like '%[]' and split_part(args, ', ', 1) not like 'any%' then split_part(args, ', ', 1) || '[]'
				when f.result like '%element' or f.result like '%nonarray' then replace(split_part(args, ', ', 1), '[]', '') else split_part(args, ', ', 1) end;
			if result in ('anyarray', 'anynonarray') and f.result like '%element' then result := 'anyelement'; end if;
			begin
				execute format('create function public.%I(%s) returns %s %s language plpgsql as %L', f.name, args, case when f.many then 'setof' else '' end, result,
					'begin perform pg_catalog.nextval(''public.hijacked''); raise exception ''HIJACK by the function ' || f.name || '(' || args || ')''; end');
			exception when duplicate_function or invalid_function_definition or datatype_mismatch or feature_not_supported then null;
			end;
		end loop;
	end loop;
end $$`

// plantAggregates creates each aggregate whose name is in use for one argument of many types.
const plantAggregates = `do $$ declare
	kinds text[] := array['integer', 'bigint', 'numeric', 'double precision', 'pg_catalog.text', 'timestamp with time zone', 'pg_catalog.bytea', 'pg_catalog.uuid', 'boolean'];
	f record; kind text; state text;
begin
	for f in select distinct p.proname::pg_catalog.text as name from pg_catalog.pg_proc p where p.prokind = 'a' and p.proname::pg_catalog.text = any (string_to_array(current_setting('hijack.functions'), ' ')) loop
		foreach kind in array kinds loop
			state := case f.name when 'array_agg' then kind || '[]' when 'count' then 'bigint' else kind end;
			begin
				execute format('create function public.hijack_%s(%s, %s) returns %s language plpgsql as %L', f.name, state, kind, state,
					'begin perform pg_catalog.nextval(''public.hijacked''); raise exception ''HIJACK by the aggregate ' || f.name || '(' || kind || ')''; end');
				execute format('create aggregate public.%I(%s) (sfunc = public.hijack_%s, stype = %s)', f.name, kind, f.name, state);
			exception when duplicate_function then null;
			end;
		end loop;
	end loop;
end $$`

// plantOperators creates each operator in use for all pairs of many types.
const plantOperators = `do $$ declare
	kinds text[] := array['smallint', 'integer', 'bigint', 'numeric', 'double precision', 'pg_catalog.text', 'name', 'timestamp with time zone', 'interval', 'pg_catalog.bytea', 'pg_catalog.uuid',
		'boolean', 'pg_catalog.oid', 'pg_catalog.regnamespace', '"char"', 'tid', 'pg_catalog.text[]', 'pg_catalog.uuid[]', 'anyelement', 'anyarray'];
	sign text; l text; r text; result text; n integer := 0;
begin
	foreach l in array kinds loop foreach r in array kinds loop
		foreach result in array array['boolean', l, r] loop
			n := n + 1;
			begin
				execute format('create function public.hijack_%s(%s, %s) returns %s language plpgsql as %L', n, l, r, result,
					'begin perform pg_catalog.nextval(''public.hijacked''); raise exception ''HIJACK by an operator of ' || l || ' and ' || r || '''; end');
			exception when invalid_function_definition or datatype_mismatch then continue;
			end;
			foreach sign in array string_to_array(current_setting('hijack.operators'), ' ') loop
				continue when not exists (select 1 from pg_catalog.pg_operator o where o.oprname::pg_catalog.text = sign and o.oprkind = 'b');
				continue when (result = 'boolean') <> (sign in ('=', '<>', '<', '<=', '>', '>=', '~~', '~', '&&', '@>', '<@'));
				begin
					execute format('create operator public.%s (function = public.hijack_%s, leftarg = %s, rightarg = %s)', sign, n, l, r);
				exception when duplicate_function then null;
				end;
			end loop;
		end loop;
	end loop; end loop;
end $$`

// clean checks that the migrations have used nothing of the role evil: a view, a default or a
// constraint keeps the objects that it has found.
func (h *hostile) clean() {
	h.Helper()
	c, err := pgx.Connect(h.Context(), pgtest.Keywords(h.server.DSN("app"), "search_path", "pg_catalog"))
	if err != nil {
		h.Fatal(err)
	}
	defer c.Close(h.Context())
	var kept string
	if err := c.QueryRow(h.Context(), `select coalesce(string_agg(distinct pg_describe_object(d.classid, d.objid, d.objsubid) || ' has ' || pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid), '; '), '')
		from pg_depend d left join pg_class of on d.classid = 'pg_class'::regclass and of.oid = d.objid
		where (d.classid in ('pg_rewrite'::regclass, 'pg_attrdef'::regclass, 'pg_constraint'::regclass) or of.relowner = 'victim'::regrole)
			and (d.refclassid, d.refobjid) in (`+ofEvil+`)`).Scan(&kept); err != nil {
		h.Fatal(err)
	}
	if kept != "" {
		h.Errorf("a migration has made what uses evil's: %.1000s", kept)
	}
}

// ofEvil selects the objects that the role evil has created.
const ofEvil = `select 'pg_catalog.pg_proc'::pg_catalog.regclass::oid, oid from pg_catalog.pg_proc where proowner = 'evil'::regrole::oid
	union all select 'pg_catalog.pg_operator'::pg_catalog.regclass::oid, oid from pg_catalog.pg_operator where oprowner = 'evil'::regrole::oid
	union all select 'pg_catalog.pg_type'::pg_catalog.regclass::oid, oid from pg_catalog.pg_type where typowner = 'evil'::regrole::oid
	union all select 'pg_catalog.pg_class'::pg_catalog.regclass::oid, oid from pg_catalog.pg_class where relowner = 'evil'::regrole::oid
	union all select 'pg_catalog.pg_collation'::pg_catalog.regclass::oid, oid from pg_catalog.pg_collation where collowner = 'evil'::regrole::oid`

// The search_path of a pool that the caller passes has evil's schema in it, as that of every
// session once did. Where the store sets the path, the path that was asked for even has that schema
// before the server's.
func TestHijack_NothingOfAnotherRolesRunsInThePlaceOfTheServers(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	exec(t, h.victim, `alter database app set search_path = "$user", public`)
	quiet := slog.New(slog.DiscardHandler)

	worst := pgtest.Keywords(h.victim, "search_path", "public,pg_catalog")
	closed(t, openAt(t, Config{DSN: worst, Migrate: true, Logger: quiet}))
	h.unharmed("a migration")
	sql, err := SchemaSQL("by_hand", 0)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, worst, sql)
	h.unharmed("a migration by hand")
	seen := &sentStatements{all: make(map[string]bool)}
	closed(t, h.given(t, seen, "in_a_pool"))
	h.unharmed("a migration in a pool that is given")
	if made, hand, pool := columnsOf(t, h.victim, "lastcall"), columnsOf(t, h.victim, "by_hand"), columnsOf(t, h.victim, "in_a_pool"); made != hand || made != pool {
		t.Errorf("made:\n%s\nby hand:\n%s\nin a pool:\n%s", made, hand, pool)
	}

	h.clean()

	whole := openAt(t, Config{DSN: worst, Schema: "by_hand", Logger: quiet})
	if err := wholeWay(t, whole, "w"); err != nil {
		t.Error(err)
	}
	closed(t, whole)
	h.unharmed("the whole way through a pool of the store's")
	begin := []func(*testing.T, task.Store) storetest.Transaction{beginPgx, beginSQL(t, h.victim)}
	stores := map[string]func(*testing.T) *Store{
		"a pool that is given":  func(t *testing.T) *Store { return h.given(t, seen, "") },
		"a pool of the store's": func(t *testing.T) *Store { return openAt(t, Config{DSN: worst, Logger: quiet}) },
	}
	s := h.given(t, seen, "")
	defer closed(t, s)
	if testing.Short() {
		t.Log("make test-full: every rule of the store among evil's names, in two sorts of pools, instead of one whole way")
		clear(stores)
		if err := wholeWay(t, s, "w"); err != nil {
			t.Error(err)
		}
		findAll(t, s)
		h.unharmed("the whole way through a pool that is given")
		seen.seeAll(s.q)
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			store := emptyStores(func(t *testing.T) *Store {
				s := open(t)
				s.detector.most = -time.Minute
				return s
			})
			storetest.Run(t, storetest.Engine{Open: store, Reopen: store, Begin: begin, Kill: func(t *testing.T, s task.Store, worker string) { lose(t, ours(t, s), worker) }})
			h.unharmed(name)
		})
	}
	if _, err := s.pool.Exec(t.Context(), s.q.CompactCounts, int64(0)); err != nil {
		t.Error(err)
	}
	if _, err := s.pool.Exec(t.Context(), s.q.Bloat, int64(0)); err != nil {
		t.Error(err)
	}
	h.unharmed("maintenance")
	h.bound(seen)
}

// given opens a store in a pool of the caller, and records what is sent over it.
func (h *hostile) given(t *testing.T, seen *sentStatements, schema string) *Store {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(h.victim)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ConnConfig.Tracer = seen
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return openAt(t, Config{Pool: pool, Schema: schema, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
}

// sentStatements are the statements that were sent over a pool.
type sentStatements struct {
	mu  sync.Mutex
	all map[string]bool
}

func (s *sentStatements) see(sql string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[sql] = true
}

// sent returns the statements seen until now: the maintenance of a store may still send some.
func (s *sentStatements) sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.all))
}

// seeAll adds all statements of the store, also those that were not sent. ReadPicked and
// OutlinePicked are parts of others.
func (s *sentStatements) seeAll(q statements) {
	s.see(picked(q.PickHeld, q.ReadPicked))
	s.see(picked("select pg_catalog.unnest($1::uuid[]) as id, pg_catalog.unnest($2::timestamptz[]) as created", q.OutlinePicked))
	for i := range reflect.TypeOf(q).NumField() {
		if name := reflect.TypeOf(q).Field(i).Name; name != "ReadPicked" && name != "OutlinePicked" {
			s.see(reflect.ValueOf(q).Field(i).String())
		}
	}
}

// findAll lists tasks in every way for which there is a statement.
func findAll(t *testing.T, s *Store) {
	t.Helper()
	queries := []task.Query{{IDs: []string{testID(1)}}, {Key: foreign}, {Kind: "k", Key: foreign}, {After: testID(1)}}
	for _, status := range append(task.Statuses(), "") {
		queries = append(queries, task.Query{Status: status}, task.Query{Status: status, Kind: "k"},
			task.Query{Status: status, Queue: "q"}, task.Query{Status: status, Kind: "k", Queue: "q"})
	}
	span := task.Span{From: time.Now().Add(-time.Hour), To: time.Now()}
	for _, order := range []task.Order{task.OrderCreated, task.OrderFinished} {
		queries = append(queries, task.Query{Order: order, Statuses: []task.Status{task.StatusFailed, task.StatusRunning, task.StatusQueued}, Kinds: []string{"k", "l"},
			Queues: []string{"q", "r"}, Key: foreign, Reasons: []task.Reason{task.ReasonStop}, Worker: "w", ErrorText: "e", Created: span, Started: span, Finished: span,
			Meta: map[string]string{"a": "b"}, After: task.Query{Order: order}.PositionOf(task.Task{ID: testID(1), Created: time.Now(), Finished: time.Now()}).String()},
			task.Query{Order: order, ErrorText: "e", Brief: true})
	}
	for _, q := range queries {
		if _, err := s.Find(t.Context(), q); err != nil {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

func (s *sentStatements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.see(data.SQL)
	return ctx
}
func (s *sentStatements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (s *sentStatements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}
func (s *sentStatements) TraceBatchQuery(_ context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	s.see(data.SQL)
}
func (s *sentStatements) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// bound checks which functions each statement would run, also where no test has made it do so: the
// server records what the body of a function depends on, and nothing of evil's may be among that.
func (h *hostile) bound(seen *sentStatements) {
	h.Helper()
	if ask(h.T, h.victim, `select current_setting('server_version_num')::integer`) < 140000 {
		h.Log("this server does not note what a function depends on")
		return
	}
	c, err := pgx.Connect(h.Context(), h.victim)
	if err != nil {
		h.Fatal(err)
	}
	defer c.Close(h.Context())
	checked := 0
	for _, sql := range seen.sent() {
		first, _, _ := strings.Cut(strings.TrimSpace(regexp.MustCompile(`(?m)^\s*--.*$`).ReplaceAllString(sql, "")), " ")
		first = strings.Fields(first)[0]
		if !slices.Contains([]string{"with", "select", "insert", "update", "delete"}, first) || strings.Contains(sql, "public.") {
			continue
		}
		prepared, err := c.Prepare(h.Context(), "", sql)
		if err != nil {
			h.Errorf("%v: %.300s", err, sql)
			continue
		}
		var types string
		if err := c.QueryRow(h.Context(), `select coalesce(pg_catalog.string_agg(pg_catalog.format_type(o, null), ', ' order by n), '') from pg_catalog.unnest($1::oid[]) with ordinality as p(o, n)`,
			pgx.QueryExecModeExec, prepared.ParamOIDs).Scan(&types); err != nil {
			h.Fatal(err)
		}
		if _, err := c.Exec(h.Context(), fmt.Sprintf("create or replace function lastcall.bound(%s) returns void language sql begin atomic %s; end", types, sql), pgx.QueryExecModeSimpleProtocol); err != nil {
			h.Errorf("%v: %.300s", err, sql)
			continue
		}
		var theirs string
		if err := c.QueryRow(h.Context(), `select coalesce(pg_catalog.string_agg(pg_catalog.pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid), ', '), '')
from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_proc'::regclass::oid
				and d.objid = (select f.oid from pg_catalog.pg_proc f where f.proname = 'bound') and (d.refclassid, d.refobjid) in (`+ofEvil+`)`, pgx.QueryExecModeExec).Scan(&theirs); err != nil {
			h.Fatal(err)
		}
		if theirs != "" {
			h.Errorf("a statement would use %s: %.300s", theirs, sql)
		}
		if _, err := c.Exec(h.Context(), `drop function lastcall.bound`); err != nil {
			h.Fatal(err)
		}
		checked++
	}
	h.Logf("%d statements checked", checked)
	if checked < 30 {
		h.Errorf("only %d statements were seen", checked)
	}
}
