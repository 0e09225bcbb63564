//go:build linux

package main

import (
	"database/sql"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wiretest"
)

func TestInspect_FindsWhatBelongsToNothing(t *testing.T) {
	onBothStores(t, func(t *testing.T, h *wiretest.Harness) {
		client := h.StartReady("c", "client")
		// One task waits, one has a key, one has ended.
		var ids []string
		for seq, p := range []history.Plan{{}, {Key: "k"}, {DelayMS: 60_000}} {
			p.Seq, p.Kind = seq+1, history.KindSteps
			a := h.Ask(history.Call{Op: history.Enqueue, Plans: []history.Plan{p}})
			ids = append(ids, a.IDs...)
		}
		h.Ask(history.Call{Op: history.Cancel, TaskID: ids[2]})
		client.CloseInput()
		client.End(0, 0)
		if state, _ := inspected(t, h.Store); len(state.Residue) > 0 || len(state.Left) > 0 || fmt.Sprint(state.Counts) != "map[cancelled:1 queued:2]" {
			t.Fatalf("%v, %v, %v", state.Residue, state.Left, state.Counts)
		}
		driver, address := "pgx", h.Store
		damages := postgresDamages
		if path, ok := sqlitePath(h.Store); ok {
			driver, address, damages = "sqlite", "file:"+path+"?_pragma=busy_timeout(20000)", sqliteDamages
		}
		for _, d := range damages {
			checkDamage(t, h.Store, driver, address, d, ids)
		}
	})
}

// damage is a change of the tables, and where residue must be reported after it. {0} is the id of
// the first task.
type damage struct {
	do, undo string
	want     string
}

var sqliteDamages = []damage{
	{`create table kept as select * from waiting; delete from waiting where id = '{0}'`, `insert into waiting (task, id, kind, queue, due, priority, run_at, since) select task, id, kind, queue, due, priority, run_at, since from kept where id = '{0}'; drop table kept`, "map[tasks:1]"},
	{`insert into keys values (1, 'steps', 'free')`, `delete from keys where key = 'free'`, "map[keys:1]"},
	{`update keys set task = 77`, `update keys set task = 2`, "map[keys:2]"},
	{`insert into runs select 77, 1, 'w', 'h', 1, 1, 1, 'queued', '', '', 0, 0`, `delete from runs`, "map[runs:1]"},
	{`insert into checkpoints values (77, x'', 0, '')`, `delete from checkpoints`, "map[checkpoints:1]"},
	{`insert into steps values (77, 'a', 1, 'done', '', 1, 0, x'')`, `delete from steps`, "map[steps:1]"},
	{`insert into logs values (77, x'')`, `delete from logs`, "map[logs:1]"},
	{`insert into asked values (77, 1, 'retry', '', '')`, `delete from asked`, "map[asked:1]"},
	{`update counts set n = n + 1`, `update counts set n = n - 1`, "map[counts:1]"},
	{`insert into workers (id, name, host, pid, kinds, queues, slots, lease, seq, state, since, boot) values ('w', '', '', 1, '', '', 1, 1, 1, '', 1, '')`, `delete from workers`, "map[workers:1]"},
	{`insert into ended select 77, created, ended, status, reason, error, run, runs, worker, host, pid, started, run_at, crashed, reclaimed, attempts, interruptions, crashes,
		crash_streak, interrupt_streak, max_attempts, max_crashes, max_interruptions, expires, result from ended`, `delete from ended where task = 77`, "map[ended:1]"},
	{`update waiting set queue = 'other' where id = '{0}'`, `update waiting set queue = 'default' where id = '{0}'`, "map[waiting:1]"},
	{`insert into running values (1, 1, 1, 'w', 'h', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', '', null, '')`, `delete from running`, "map[running:1 tasks:1]"},
}

var postgresDamages = []damage{
	{`create table kept as select * from lastcall.ready; delete from lastcall.ready where id = '{0}'`,
		`insert into lastcall.ready (created, id, run_at, route, sort_priority, kind, queue, payload) select created, id, run_at, route, sort_priority, kind, queue, payload from kept where id = '{0}'; drop table kept`,
		"map[tasks:1]"},
	{`insert into lastcall.keys values ('steps', 'free', '{0}')`, `delete from lastcall.keys where key = 'free'`, "map[keys:1]"},
	{`update lastcall.keys set task = '{2}'`, `update lastcall.keys set task = '{1}'`, "map[keys:2]"},
	{`insert into lastcall.runs values (gen_random_uuid(), 1, gen_random_uuid(), now(), now(), false, false, 'queued')`, `delete from lastcall.runs`, "map[runs:1]"},
	{`insert into lastcall.checkpoints (task, run) values (gen_random_uuid(), 1)`, `delete from lastcall.checkpoints`, "map[checkpoints:1]"},
	{`insert into lastcall.logs values (gen_random_uuid(), '')`, `delete from lastcall.logs`, "map[logs:1]"},
	{`insert into lastcall.commands (task, verb) values (gen_random_uuid(), 'retry')`, `delete from lastcall.commands`, "map[commands:1]"},
	{`insert into lastcall.counts (kind, queue, status, delta) values ('steps', 'default', 'cancelled', 1)`,
		`insert into lastcall.counts (kind, queue, status, delta) values ('steps', 'default', 'cancelled', -1)`, "map[counts:1]"},
	{`insert into lastcall.workers (worker, id, name, host, pid, kinds, queues, slots, lease, seq, state) values ('{0}', 'w', '', '', 1, '{}', '{}', 1, 1, 1, '')`, `delete from lastcall.workers`, "map[workers:1]"},
	{`insert into lastcall.ended select created, gen_random_uuid(), ended from lastcall.ended, lateral (select 1) x where false; update lastcall.ready set created = created - interval '1 s' where id = '{0}'`,
		`update lastcall.ready set created = created + interval '1 s' where id = '{0}'`, "map[tasks:1]"},
	{`insert into lastcall.running (task, run, worker, created, route, sort_priority, max_attempts, max_crashes, max_interruptions, runs, kind, queue)
		select id, 1, id, created, 1, 1, 1, 1, 1, 1, kind, queue from lastcall.tasks where id = '{0}'`, `delete from lastcall.running`, "map[running:1 tasks:1]"},
	{`insert into chaos_enqueued values (9, 'gone')`, `delete from chaos_enqueued`, "map[chaos_enqueued:1]"},
}

// checkDamage makes a damage, checks that it is reported, and undoes it.
func checkDamage(t *testing.T, store, driver, address string, d damage, ids []string) {
	t.Helper()
	exec := func(text string) {
		for n, id := range ids {
			text = strings.ReplaceAll(text, fmt.Sprintf("{%d}", n), id)
		}
		db, err := sql.Open(driver, address)
		if err == nil {
			_, err = db.ExecContext(t.Context(), text)
		}
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		db.Close()
	}
	exec(d.do)
	if state, _ := inspected(t, store); fmt.Sprint(state.Residue) != d.want {
		t.Errorf("after %s: residue %v, want %s", d.do, state.Residue, d.want)
	}
	exec(d.undo)
	if state, _ := inspected(t, store); len(state.Residue) > 0 {
		t.Errorf("after %s: residue %v, want none", d.undo, state.Residue)
	}
}

func TestInspect_FindsWhatIsLeftBesideTheTables(t *testing.T) {
	onBothStores(t, func(t *testing.T, h *wiretest.Harness) {
		var want string
		if path, ok := sqlitePath(h.Store); ok {
			want = "[file tasks.db-journal-of-mine file tasks.db-workers/w.lock]"
			for _, file := range []string{path + "-journal-of-mine", path + "-workers/w.lock"} {
				if err := os.WriteFile(file, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		} else {
			db, err := sql.Open("pgx", h.Store)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			db.SetMaxOpenConns(1)
			if _, err := db.ExecContext(t.Context(), `set application_name = 'forgotten'; select pg_advisory_lock(1)`); err != nil {
				t.Fatal(err)
			}
			want = "forgotten advisory lock"
		}
		state, _ := inspected(t, h.Store)
		got := fmt.Sprint(state.Left)
		if len(state.Left) != 2 || strings.HasPrefix(want, "[") && got != want || want != got && !(strings.Contains(got, "connection forgotten") && strings.Contains(got, "advisory lock of process")) {
			t.Errorf("%s, want %s", got, want)
		}
	})
}
