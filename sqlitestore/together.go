package sqlitestore

import (
	"errors"
	"strings"

	"github.com/lastcall-go/lastcall/task"
)

// adding is a call of Add.
type adding struct {
	tasks []task.NewTask
	added []task.Added
	lanes map[lane]int64 // that it used
}

// plain says that nothing has to be looked up: no key, and no time to wait for.
func (a *adding) plain() bool {
	for i := range a.tasks {
		if a.tasks[i].Key != "" || a.tasks[i].Delay > 0 {
			return false
		}
	}
	return true
}

// bulk is the statements that add n tasks at once: most of what a single row costs is not the row.
type bulk struct {
	n          int
	add, ready string
}

// bulks are used the largest first.
var bulks = []bulk{bulkOf(16), bulkOf(4), bulkOf(1)}

func bulkOf(n int) bulk { return bulk{n: n, add: several(addSQL, n), ready: several(readySQL, n)} }

// several makes a statement that inserts one row insert n.
func several(query string, n int) string {
	from := strings.LastIndex(query, "(?")
	row := query[from : from+strings.Index(query[from:], ")")+1]
	return strings.Replace(query, row, strings.Repeat(row+", ", n-1)+row, 1)
}

// errNotPlain: a task exists, and so each of them must be looked at.
var errNotPlain = errors.New("a task exists")

// addTogether makes the tasks of several plain calls with few statements. After an error nothing is
// made.
func (s *Store) addTogether(t *txn, calls []*adding) error {
	type row struct {
		call  *adding
		place int
	}
	var rows []row
	for _, a := range calls {
		for i := range a.tasks {
			rows = append(rows, row{a, i})
		}
	}
	now := s.now().UnixMicro()
	var tasks, ready []any
	for _, b := range bulks {
		for ; len(rows) >= b.n; rows = rows[b.n:] {
			tasks, ready = tasks[:0], ready[:0]
			for _, r := range rows[:b.n] {
				added := &r.call.tasks[r.place]
				number, err := s.laneOf(t, r.call, added)
				if err != nil {
					return err
				}
				tasks = append(tasks, added.ID, number, added.Priority, now, now, now, "", blob(added.Payload))
				ready = append(ready, number, false, -added.Priority, true, now, added.ID, 0, 0)
				r.call.added[r.place] = task.Added{ID: added.ID}
			}
			made, err := t.exec(b.add, tasks...)
			if err == nil && int(made) < b.n {
				err = errNotPlain
			}
			if err != nil {
				return err
			}
			if _, err := t.exec(b.ready, ready...); err != nil {
				return err
			}
		}
	}
	t.news = true
	return nil
}

// laneOf returns the number of a new task's lane.
func (s *Store) laneOf(t *txn, a *adding, n *task.NewTask) (int64, error) {
	l := lane{kind: n.Kind, queue: n.Queue}
	if number, ok := a.lanes[l]; ok {
		return number, nil
	}
	number, err := s.numberOf(t, l)
	if err == nil {
		a.lanes[l] = number
	}
	return number, err
}
