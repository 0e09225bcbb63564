package sqlitestore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/lastcall-go/lastcall/task"
)

const (
	addSQL = `insert into tasks (id, lane, priority, created, since, run_at, key, payload)
		values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (id) do nothing`
	readySQL   = `insert into ready (lane, suspect, rank, fresh, run_at, id, run, runs) values (?, ?, ?, ?, ?, ?, ?, ?)`
	delayedSQL = `insert into delayed (lane, suspect, rank, fresh, run_at, id, run, runs) values (?, ?, ?, ?, ?, ?, ?, ?)`
)

// Add implements task.Store.
func (s *Store) Add(ctx context.Context, tasks []task.NewTask) ([]task.Added, error) {
	a := &adding{tasks: tasks, added: make([]task.Added, len(tasks)), lanes: make(map[lane]int64)}
	j := &job{ctx: ctx, fn: func(t *txn) error { return s.addEach(t, a) }}
	if a.plain() {
		j.adding = a
	}
	if err := s.enter(j); err != nil {
		return nil, err
	}
	s.lanes.committed(a.lanes)
	return a.added, nil
}

// addEach makes tasks of any sort, one after the other.
func (s *Store) addEach(t *txn, a *adding) error {
	now := s.now().UnixMicro()
	clear(a.lanes) // what has been tried before is undone
	for i := range a.tasks {
		number, err := s.laneOf(t, a, &a.tasks[i])
		if err != nil {
			return err
		}
		if a.added[i], err = s.add(t, a.tasks[i], number, now); err != nil {
			return err
		}
	}
	t.news = true
	return nil
}

func (s *Store) add(t *txn, n task.NewTask, number, now int64) (task.Added, error) {
	runAt := now + n.Delay.Microseconds()
	made, err := t.exec(addSQL, n.ID, number, n.Priority, now, now, runAt, n.Key, blob(n.Payload))
	if err != nil || made == 0 {
		return task.Added{ID: n.ID, Existed: true}, err
	}
	if n.Key != "" {
		holder, err := takeKey(t, n.Kind, n.Key, n.ID)
		if err != nil {
			return task.Added{}, err
		}
		if holder != n.ID {
			_, err := t.exec(`delete from tasks where id = ?`, n.ID)
			return task.Added{ID: holder, Existed: true}, err
		}
	}
	return task.Added{ID: n.ID}, makeWait(t, waiting{lane: number, rank: -n.Priority, fresh: true, runAt: runAt, id: n.ID}, now)
}

// takeKey returns the task that has a key from now on: the given one, unless another has it.
func takeKey(t *txn, kind, key, id string) (holder string, err error) {
	err = t.QueryRowContext(context.Background(), `insert into keys (kind, key, task) values (?, ?, ?)
		on conflict (kind, key) do update set task = task returning task`, kind, key, id).Scan(&holder)
	return holder, err
}

// blob is an empty value rather than NULL for a payload of nothing.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// waiting is a row of ready or of delayed.
type waiting struct {
	lane    int64
	suspect bool
	rank    int
	fresh   bool
	runAt   int64
	id      string
	run     int64 // the last run, and how many there were
	runs    int
}

// makeWait puts a task among those that can be claimed, or those whose time has not come.
func makeWait(t *txn, w waiting, now int64) error {
	query := readySQL
	if w.runAt > now {
		query = delayedSQL
	}
	_, err := t.exec(query, w.lane, w.suspect, w.rank, w.fresh, w.runAt, w.id, w.run, w.runs)
	return err
}

// waitingOf reads where a task that waits stands, from its row.
func waitingOf(t *txn, id string) (w waiting, err error) {
	err = t.QueryRowContext(context.Background(), `select lane, crash_streak >= 2, -priority, status = 'queued', run_at, id, run, runs
		from tasks where id = ?`, id).Scan(&w.lane, &w.suspect, &w.rank, &w.fresh, &w.runAt, &w.id, &w.run, &w.runs)
	return w, err
}

// dropWait takes a task from where it waits, and says whether it did wait.
func dropWait(t *txn, w waiting) (bool, error) {
	n, err := t.exec(`delete from ready where lane = ? and suspect = ? and rank = ? and fresh = ? and run_at = ? and id = ?`,
		w.lane, w.suspect, w.rank, w.fresh, w.runAt, w.id)
	if err != nil || n == 1 {
		return n == 1, err
	}
	n, err = t.exec(`delete from delayed where run_at = ? and id = ?`, w.runAt, w.id)
	return n == 1, err
}

// noRows says whether nothing was found.
func noRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }
