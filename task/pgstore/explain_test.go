package pgstore

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lastcall-go/lastcall/task"
)

// growing are the tables that may be large.
var growing = []string{"tasks", "ready", "delayed", "running", "ended", "runs", "checkpoints", "logs", "commands", "keys", "counts"}

// walks are the statements that may scan a whole table that grows, and why.
var walks = map[string]string{
	"PickHeld":            "running: once for each call of Reclaim",
	"HeldRuns":            "running: once for each complete beat",
	"RemoveStoppedWorker": "running: once when a worker stops",
	"RemoveDeadWorker":    "running: once for each call of Reclaim",
	"InterruptQueue":      "running: once for each queue that is paused with what runs",
	"Count":               "running and counts: a count reads what is counted",
	"CompactCounts":       "counts: it adds them up",
}

// plan is a node of what EXPLAIN returns.
type plan struct {
	NodeType  string `json:"Node Type"`
	Relation  string `json:"Relation Name"`
	Index     string `json:"Index Name"`
	IndexCond string `json:"Index Cond"`
	Filter    string
	JoinCond  string `json:"Join Filter"`
	Plans     []plan `json:"Plans"`
}

// walk returns the tables that a plan scans: those that are read row by row, or by an index without
// a condition. A scan of which only the first rows are wanted does not count, except one of tasks
// with a condition that perhaps no row meets.
func (p *plan) walk(limited bool) (tables []string) {
	if slices.Contains(growing, p.Relation) {
		switch {
		case p.NodeType == "Seq Scan", strings.HasPrefix(p.NodeType, "Bitmap"):
			tables = append(tables, p.Relation+" ("+p.NodeType+")")
		case strings.HasPrefix(p.NodeType, "Index") && p.IndexCond == "" && (!limited || p.Relation == "tasks" && p.Filter != ""):
			tables = append(tables, p.Relation+" (all of "+p.Index+")")
		}
	}
	limited = p.NodeType == "Limit" || limited && slices.Contains([]string{"LockRows", "Result", "Subquery Scan", "Incremental Sort", "Append", "Merge Append"}, p.NodeType)
	for i := range p.Plans {
		tables = append(tables, p.Plans[i].walk(limited)...)
	}
	return tables
}

// pairs returns the conditions of joins that compare every row of one side with every row of the
// other.
func (p *plan) pairs() (conditions []string) {
	if p.NodeType == "Nested Loop" && p.JoinCond != "" {
		conditions = append(conditions, p.JoinCond)
	}
	for i := range p.Plans {
		conditions = append(conditions, p.Plans[i].pairs()...)
	}
	return conditions
}

// explained are the statements that are explained: those of the folder sql, and listings.
func explained(t *testing.T, s *Store) map[string]string {
	t.Helper()
	all := make(map[string]string)
	v := reflect.ValueOf(s.q)
	for i := range v.NumField() {
		all[v.Type().Field(i).Name] = v.Field(i).String()
	}
	delete(all, "Poison")
	read := all["ReadPicked"]
	outline := all["OutlinePicked"]
	delete(all, "ReadPicked")
	delete(all, "OutlinePicked")
	all["OutlinePicked of some ids"] = picked("select unnest($1::uuid[]) as id, unnest($2::timestamptz[]) as created", outline)
	all["PickHeld"] = picked(all["PickHeld"], read)
	all["ReadPicked of some ids"] = picked("select unnest($1::uuid[]) as id", read)
	return all
}

func TestStatements_WalkThroughNothingThatGrows(t *testing.T) {
	s := openAt(t, Config{DSN: migrated.DSN(t), Migrate: true, Timeout: 5 * time.Minute})
	defer closed(t, s)
	check := func(when string) {
		for name, sql := range explained(t, s) {
			plan := planOf(t, s, sql)
			if pairs := plan.pairs(); len(pairs) > 0 && slices.Contains(batched, name) {
				t.Errorf("%s, the statement %s compares every row with every other: %v", when, name, pairs)
			}
			indexes := make(map[string]bool)
			plan.indexes(indexes)
			if only := strings.HasSuffix(name, "Interrupted"); only != indexes["ready_handover"] || only && indexes["ready_order"] {
				t.Errorf("%s, the statement %s reads the indexes %v", when, name, slices.Sorted(maps.Keys(indexes)))
			}
			tables := plan.walk(false)
			if _, may := walks[name]; !may && len(tables) > 0 {
				t.Errorf("%s, the statement %s walks through %v", when, name, tables)
			}
		}
		s.pool.Reset()
	}
	check("with empty tables")
	mustExec(t, s, `analyze`)
	check("with statistics of empty tables")
	rows := 1_000_000
	if testing.Short() {
		t.Log("make test-full: a million tasks instead of a hundred thousand")
		rows = 100_000
	}
	fill(t, s, rows)
	check("with many rows and no statistics")
	mustExec(t, s, `analyze`)
	check("with many rows and statistics")
}

// batched are the statements that take a thousand rows at once.
var batched = []string{"Claim", "FinishRuns", "SaveRuns", "Verdicts"}

// explain1 returns the tables that a statement scans, whatever its arguments are.
func explain1(t *testing.T, s *Store, sql string) []string {
	t.Helper()
	p := planOf(t, s, sql)
	return p.walk(false)
}

// planOf returns the plan of a statement, whatever its arguments are.
func planOf(t *testing.T, s *Store, sql string) plan {
	t.Helper()
	c, err := s.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	if _, err := c.Exec(t.Context(), "prepare explained as "+sql); err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	defer func() {
		if _, err := c.Exec(t.Context(), "deallocate explained"); err != nil {
			t.Error(err)
		}
	}()
	var types []string
	if err := c.QueryRow(t.Context(), `select parameter_types::text[] from pg_prepared_statements where name = 'explained'`).Scan(&types); err != nil {
		t.Fatal(err)
	}
	args := ""
	if len(types) > 0 {
		args = "(null::" + strings.Join(types, ", null::") + ")"
	}
	var answer []byte
	if err := c.QueryRow(t.Context(), "explain (format json) execute explained"+args).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	var plans []struct{ Plan plan }
	if err := json.Unmarshal(answer, &plans); err != nil {
		t.Fatal(err)
	}
	return plans[0].Plan
}

func mustExec(t *testing.T, s *Store, sql string, args ...any) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), s.sql(sql), args...); err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
}

// fill inserts n tasks of every kind and status: eight tenths have ended, a tenth waits, and a
// tenth runs.
func fill(t *testing.T, s *Store, n int) {
	t.Helper()
	mustExec(t, s, `alter table @.tasks set (autovacuum_enabled = off); alter table @.ended set (autovacuum_enabled = off)`)
	number := route{kind: "k", queue: "default"}.number()
	for _, sql := range []string{
		fmt.Sprintf(`insert into @.tasks (id, created, kind, queue, route, priority, payload)
			select gen_random_uuid(), now() - i * interval '1 second', 'k' || i %% 10, 'q' || i %% 1000, %d, 0, '{}' from generate_series(1, %d) i`, number, n),
		`insert into @.ended (created, task, started, ended, run, worker, runs, status, kind, queue)
			select created, id, created, created + interval '1 second', 1, gen_random_uuid(), 1, case when random() < 0.01 then 'failed' else 'succeeded' end, kind, queue from @.tasks where kind < 'k8'`,
		`insert into @.ready (created, id, route, sort_priority, kind, queue, run_at) select created, id, route, -1, kind, queue, created from @.tasks where kind = 'k8'`,
		`insert into @.running (task, run, worker, created, route, sort_priority, max_attempts, max_crashes, max_interruptions, runs, kind, queue)
			select id, 1, gen_random_uuid(), created, route, -1, 0, 0, 0, 1, kind, queue from @.tasks where kind = 'k9'`,
		`insert into @.runs (task, run, worker, started, ended, status) select id, 0, gen_random_uuid(), created, created, 'queued' from @.tasks where kind < 'k2'`,
		`insert into @.checkpoints (task, run, body) select id, 1, '{}' from @.tasks where kind < 'k2'`,
		`insert into @.logs (task, body) select id, '{}' from @.tasks where kind < 'k2'`,
	} {
		mustExec(t, s, sql)
	}
}

func TestStatements_OfListingsWalkThroughNothingThatGrows(t *testing.T) {
	s := openAt(t, Config{DSN: migrated.DSN(t), Migrate: true, Timeout: 5 * time.Minute})
	defer closed(t, s)
	fill(t, s, 100_000)
	mustExec(t, s, `analyze`)
	for _, status := range append([]task.Status{""}, task.Statuses()...) {
		for i := range 8 { // each pair and each triple of the others
			q := task.Query{Status: status, Kind: []string{"", "k1"}[i&1], Queue: []string{"", "q1"}[i>>1&1], Key: []string{"", "key"}[i>>2]}
			f, err := s.filterOf(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, look := range f.firstLooks([]string{"k1"}) {
				if tables := explain1(t, s, s.sql(look().statement(f))); len(tables) > 0 {
					t.Errorf("%+v: the first look walks through %v", q, tables)
				}
				f.args = f.args[:1]
			}
			if status == task.StatusRunning && q.Key == "" {
				continue // what runs is walked through
			}
			if tables := explain1(t, s, s.sql(picked(f.pick([]string{"k1"}), s.q.ReadPicked))); len(tables) > 0 {
				t.Errorf("%+v walks through %v", q, tables)
			}
		}
	}
}

// A search reads an index, and no further than it may look.
func TestStatements_OfSearchesWalkThroughNothingThatGrows(t *testing.T) {
	s := openAt(t, Config{DSN: migrated.DSN(t), Migrate: true, Timeout: 5 * time.Minute})
	defer closed(t, s)
	fill(t, s, 100_000)
	mustExec(t, s, `analyze`)
	n := 0
	long := task.Span{From: time.Now().Add(-time.Hour), To: time.Now()}
	for _, field := range []task.Query{{ErrorText: "boom"}, {Worker: "w"}, {Reasons: []task.Reason{task.ReasonStop}}, {Meta: map[string]string{"a": "b"}},
		{Started: long}, {Finished: long}, {Created: long}, {Order: task.OrderFinished}, {Order: task.OrderFinished, Finished: long, ErrorText: "boom"}} {
		for _, statuses := range [][]task.Status{nil, {task.StatusFailed}, {task.StatusFailed, task.StatusCancelled}, {task.StatusSucceeded, task.StatusQueued}, {task.StatusInterrupted}} {
			n++ // each with other fields that have an index
			q := field
			q.Statuses, q.Kind, q.Key = statuses, []string{"", "k1"}[n&1], []string{"", "key"}[n>>2&1]
			if n>>1&1 > 0 {
				q.Queues = []string{"q1", "q2"}
			}
			if n>>3&1 > 0 {
				q.After = q.PositionOf(task.Task{ID: testID(1), Created: time.Now(), Finished: time.Now()}).String()
			}
			f, err := s.filterOf(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			parts, kinds, _, err := s.partsOf(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(parts) == 0 {
				continue
			}
			if tables := explain1(t, s, s.sql(f.searchStatement(parts, kinds))); len(tables) > 0 {
				t.Errorf("%+v walks through %v", q, tables)
			}
		}
	}
}

// The statements of a function are explained while they run: auto_explain reports them to the
// session.
func TestAddTasks_WalksThroughNothingThatGrows(t *testing.T) {
	dsn := migrated.DSN(t)
	s := openAt(t, Config{DSN: dsn, Migrate: true, Timeout: 5 * time.Minute})
	defer closed(t, s)
	fill(t, s, 100_000)
	held := task.NewTask{ID: testID(1), Kind: "k1", Queue: "default", Key: "held"}
	if _, err := s.Add(t.Context(), []task.NewTask{held}); err != nil {
		t.Fatal(err)
	}
	mustExec(t, s, `insert into @.keys (kind, key, task, until, ended) select 'k1', 'over ' || i, gen_random_uuid(), now(), true from generate_series(1, 10000) i`)
	mustExec(t, s, `analyze`)

	var plans []string
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if _, found, ok := strings.Cut(n.Message, "plan:"); ok {
			plans = append(plans, found)
		}
	}
	c, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	if _, err := c.Exec(t.Context(), `load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on;
		set auto_explain.log_format = json; set client_min_messages = log`); err != nil {
		t.Fatal(err)
	}
	tasks := []task.NewTask{
		held, // its id exists
		{ID: testID(2), Kind: "k1", Queue: "default", Key: "held"},
		{ID: testID(3), Kind: "k1", Queue: "default", Key: "free", Delay: time.Hour},
		{ID: testID(4), Kind: "k1", Queue: "default"},
		{ID: testID(5), Kind: "k1", Queue: "default", Key: "held", OnConflict: task.Replace},
		{ID: testID(6), Kind: "k1", Queue: "default", Key: "held", OnConflict: task.Replace, Delay: time.Hour},
	}
	addOn(t, c, s, tasks, 4)
	seen := make(map[string]bool)
	for _, text := range plans {
		var p struct{ Plan plan }
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if tables := p.Plan.walk(false); len(tables) > 0 {
			t.Errorf("a statement of add_tasks walks through %v:\n%s", tables, text)
		}
		if pairs := p.Plan.pairs(); len(pairs) > 0 {
			t.Errorf("a statement of add_tasks compares every row with every other, %v:\n%s", pairs, text)
		}
		p.Plan.tables(seen)
	}
	for _, table := range []string{"keys", "tasks", "ready", "delayed", "checkpoints"} {
		if !seen[table] {
			t.Errorf("of %d plans none has the table %s", len(plans), table)
		}
	}
}

// addOn adds tasks over a connection, and checks how many are left out.
func addOn(t *testing.T, c *pgx.Conn, s *Store, tasks []task.NewTask, want int) {
	t.Helper()
	news, err := newTasks(tasks)
	if err != nil {
		t.Fatal(err)
	}
	var answer addAnswer
	if err := c.QueryRow(t.Context(), s.q.Add, addArgs(news)...).Scan(answer.columns()...); err != nil || len(answer.places) != want {
		t.Fatalf("%d tasks were left out, want %d; %v", len(answer.places), want, err)
	}
}

// indexes notes the indexes of a plan.
func (p *plan) indexes(seen map[string]bool) {
	seen[p.Index] = true
	for i := range p.Plans {
		p.Plans[i].indexes(seen)
	}
}

// tables notes the tables of a plan.
func (p *plan) tables(seen map[string]bool) {
	seen[p.Relation] = true
	for i := range p.Plans {
		p.Plans[i].tables(seen)
	}
}
