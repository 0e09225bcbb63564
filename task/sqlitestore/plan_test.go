package sqlitestore

import (
	"database/sql"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// plan returns how SQLite executes a statement, step by step.
func plan(t *testing.T, s *Store, text string) (steps []string) {
	t.Helper()
	rows, err := s.read.QueryContext(t.Context(), "explain query plan "+text, make([]any, strings.Count(text, "?"))...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	err = eachRow(rows, func(rows *sql.Rows) error {
		var (
			id, parent, unused int
			step               string
		)
		err := rows.Scan(&id, &parent, &unused, &step)
		steps = append(steps, step)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func TestStatements_FindTheirRowsByIndexes(t *testing.T) {
	s, _ := fresh(t)
	readAll := map[string][]string{
		"Counts": {"waiting", "r", "running", "counts", "paused"}, "PruneCounts": {"counts"}, "PausedQueues": {"paused"}, "Workers": {"workers"},
		"FewWait":            {"waiting"}, // as far as it counts
		"FewInterrupted":     {"waiting"},
		"InterruptQueue":     {"running"}, // only a command of a person runs it
		"RemoveIdleWorker":   {"running"}, // up to the first row
		"RunningTasksHeldBy": {"running"}, "RunningTasksNotListed": {"r"},
		"RemoveEmptySets": {"schedule_sets"}, // a row for each program that has schedules
	}
	for name, text := range statements {
		if name == "Tasks" || name == "Outlines" || name == "RunningTasks" || strings.HasPrefix(text, "where") {
			continue // conditions follow, or it is a condition
		}
		for _, step := range plan(t, s, text) {
			table, scans := strings.CutPrefix(step, "SCAN ")
			table, _, _ = strings.Cut(table, " ")
			if scans && !strings.HasPrefix(table, "(") && !slices.Contains([]string{"CONSTANT", "crashed", "halved", "j", "json_each", "q", "v"}, table) &&
				!slices.Contains(readAll[name], table) {
				t.Errorf("%s: %s", name, step)
			}
			if (strings.HasPrefix(name, "ReadyOf") || name == "InterruptedOfKind") && strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s sorts: %s", name, step)
			}
		}
	}
}

// A listing in the order of ends reads the indexes of the ends.
func TestFind_WalksAlongTheEnds(t *testing.T) {
	s, _ := fresh(t)
	for _, c := range []struct {
		query task.Query
		want  []string
	}{
		{task.Query{}, []string{"ended_first", "kept_first"}},
		{task.Query{Kind: "k", Finished: task.Span{From: time.Now()}}, []string{"ended_first (ended>?)", "kept_first (ended>?)"}},
		{task.Query{Status: task.StatusFailed}, []string{"unsuccessful_first (status=?)"}},
		{task.Query{Statuses: []task.Status{task.StatusFailed, task.StatusCancelled}, Finished: task.Span{To: time.Now()}}, []string{"unsuccessful_first (status=? AND ended>? AND ended<?)"}},
	} {
		c.query.Order = task.OrderFinished
		f, err := s.searchOf(t.Context(), c.query)
		if err != nil {
			t.Fatal(err)
		}
		text, _, err := s.statement(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		steps := plan(t, s, text)
		for _, want := range c.want {
			if !slices.ContainsFunc(steps, func(step string) bool { return strings.Contains(step, want) }) {
				t.Errorf("%+v: no step has %s: %q", c.query, want, steps)
			}
		}
		for _, step := range steps {
			if strings.Contains(step, "SCAN t") || strings.Contains(step, "SCAN e ") && !strings.Contains(step, "INDEX") {
				t.Errorf("%+v: %s", c.query, step)
			}
		}
	}
}

func TestFind_BeginsWithTheTableThatHasTheFewestRows(t *testing.T) {
	s, _ := fresh(t)
	for _, c := range []struct {
		query task.Query
		want  string
	}{
		{task.Query{}, "SCAN t USING COVERING INDEX tasks_created"},
		{task.Query{After: id(1)}, "SEARCH t USING COVERING INDEX tasks_created ((created,id)<(?,?))"},
		{task.Query{Kind: "k", Queue: "q"}, "SCAN t USING COVERING INDEX tasks_created"},
		{task.Query{Key: "key"}, "SEARCH t USING COVERING INDEX tasks_key (key=?)"},
		{task.Query{Key: "key", Status: task.StatusFailed}, "SEARCH t USING COVERING INDEX tasks_key (key=?)"},
		{task.Query{IDs: []string{id(1)}, Status: task.StatusRunning}, "SEARCH t USING INDEX sqlite_autoindex_tasks_1 (id=?)"},
		{task.Query{Status: task.StatusRunning}, "SCAN r"},
		{task.Query{Status: task.StatusQueued}, "SCAN w"},
		{task.Query{Status: task.StatusInterrupted}, "SCAN w USING COVERING INDEX interrupted"},
		{task.Query{Status: task.StatusSucceeded}, "SCAN t USING COVERING INDEX tasks_created"},
		{task.Query{Status: task.StatusFailed}, "SEARCH e USING COVERING INDEX unsuccessful (status=?)"},
		{task.Query{Status: task.StatusCancelled, Kind: "k"}, "SEARCH e USING COVERING INDEX unsuccessful (status=?)"},
	} {
		f, err := s.searchOf(t.Context(), c.query)
		if err != nil {
			t.Fatal(err)
		}
		text, _, err := s.statement(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if got := plan(t, s, text)[0]; got != c.want {
			t.Errorf("%+v: %s, want %s", c.query, got, c.want)
		}
	}
}
