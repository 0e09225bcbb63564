package sqlitestore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"slices"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// adding is one call of Add.
type adding struct {
	tasks []task.NewTask
	added []task.AddResult
}

// Add implements task.Store. SQLite has one writer, so no key and no id is ever busy.
func (s *Store) Add(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
	a := &adding{tasks: tasks, added: make([]task.AddResult, len(tasks))}
	if err := s.enter(&job{ctx: ctx, adding: a}); err != nil {
		return nil, err
	}
	return a.added, nil
}

// kindKey is a key with its kind, within which it is unique.
type kindKey struct{ kind, key string }

// addAll adds the tasks of several calls.
func (s *Store) addAll(t *txn, calls []*adding) error {
	now := s.now().UnixMicro()
	if err := t.expireAll(now); err != nil { // expired tasks may hold the keys
		return err
	}
	exists, holders, err := t.existing(calls, now)
	if err != nil {
		return err
	}
	var accepted []*task.NewTask
	for _, a := range calls {
		for i := range a.tasks {
			n := &a.tasks[i]
			k := kindKey{n.Kind, n.Key}
			holder, held := holders[k]
			first, found := exists[n.ID]
			switch {
			case found:
				a.added[i] = task.AddResult{ID: n.ID, Outcome: task.OutcomeExisting}
				if !first.is(n) {
					a.added[i] = task.AddResult{ID: n.ID, Conflict: true}
				}
				continue
			case held:
				if n.OnConflict == task.Replace { // the holder may be one of these tasks
					if err := t.insertTasks(accepted, now); err != nil {
						return err
					}
					accepted = nil
				}
				if a.added[i], err = t.held(n, holder, now); err != nil {
					return err
				}
				continue
			case n.Key != "":
				holders[k] = n.ID
			}
			exists[n.ID] = known{fresh: n}
			a.added[i] = task.AddResult{ID: n.ID}
			accepted = append(accepted, n)
		}
	}
	return t.insertTasks(accepted, now)
}

// known is a task with a given id: one of this transaction, or one in the file. Of the latter only
// the payload's hash is kept, since its payload may be much larger than the one that is compared
// with it.
type known struct {
	fresh   *task.NewTask
	kind    string
	payload [sha256.Size]byte // the hash of the payload with which it was added
}

// is reports whether a new task with the same id is the same task (rule 32).
func (k known) is(n *task.NewTask) bool {
	if k.fresh != nil {
		return k.fresh.Kind == n.Kind && bytes.Equal(k.fresh.Payload, n.Payload)
	}
	return k.kind == n.Kind && k.payload == sha256.Sum256(n.Payload)
}

// existing returns the tasks that have ids of the calls, and the holders of their keys.
func (t *txn) existing(calls []*adding, now int64) (exists map[string]known, holders map[kindKey]string, err error) {
	var (
		ids  []string
		keys [][2]string
	)
	for _, a := range calls {
		for i := range a.tasks {
			ids = append(ids, a.tasks[i].ID)
			if a.tasks[i].Key != "" {
				keys = append(keys, [2]string{a.tasks[i].Kind, a.tasks[i].Key})
			}
		}
	}
	exists = make(map[string]known, len(ids))
	arg, err := list(ids)
	if err != nil {
		return nil, nil, err
	}
	err = each(context.Background(), t, "ExistingIDs", []any{arg}, func(rows *sql.Rows) error {
		var (
			id      string
			k       known
			payload sql.RawBytes
			first   sql.RawBytes
		)
		err := rows.Scan(&id, &k.kind, &payload, &first)
		if k.payload = sha256.Sum256(payload); first != nil {
			k.payload = [sha256.Size]byte(first)
		}
		exists[id] = k
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	holders, err = t.holders(keys, now)
	return exists, holders, err
}

// holders returns the tasks that hold the keys in a list of pairs of a kind and a key.
func (t *txn) holders(keys [][2]string, now int64) (map[kindKey]string, error) {
	holders := make(map[kindKey]string)
	if len(keys) == 0 {
		return holders, nil
	}
	arg, err := list(keys)
	if err != nil {
		return nil, err
	}
	err = each(context.Background(), t, "KeyHolders", []any{arg, now}, func(rows *sql.Rows) error {
		var (
			k  kindKey
			id string
		)
		err := rows.Scan(&k.kind, &k.key, &id)
		holders[k] = id
		return err
	})
	return holders, err
}

// insertTasks writes new tasks. They get numbers in the order of their ids, so that tasks of the
// same age are next to each other in every table.
func (t *txn) insertTasks(accepted []*task.NewTask, now int64) error {
	if len(accepted) == 0 {
		return nil
	}
	t.news = true
	slices.SortFunc(accepted, func(a, b *task.NewTask) int { return cmp.Compare(a.ID, b.ID) })
	var last int64
	if err := one(context.Background(), t, "LastNumber", nil, &last); err != nil {
		return err
	}
	tasks, waiting := make([]any, 0, 10*len(accepted)), make([]any, 0, 9*len(accepted))
	var keys, windows []any
	for i, n := range accepted {
		number, priority := last+1+int64(i), int64(n.Priority)
		runAt := now + n.Delay.Microseconds()
		tasks = append(tasks, number, n.ID, now, n.Kind, n.Queue, n.Key, priority, runAt, metaColumn(n.Meta), blob(n.Payload))
		waiting = append(waiting, number, n.ID, n.Kind, n.Queue, runAt <= now, priority, runAt, now, startBefore(n, now))
		if n.Key != "" {
			keys = append(keys, number, n.Kind, n.Key)
		}
		if n.KeyFor > 0 {
			windows = append(windows, n.Kind, n.Key, n.ID, now+n.KeyFor.Microseconds())
		}
	}
	if err := t.rows("AddTasks", tasks); err != nil {
		return err
	}
	if err := t.rows("AddWaiting", waiting); err != nil {
		return err
	}
	if err := t.rows("AddKeys", keys); err != nil {
		return err
	}
	return t.rows("AddWindows", windows)
}

// startBefore returns the time before which a new task's first claim must come, as the column of
// waiting.
func startBefore(n *task.NewTask, now int64) any {
	if n.StartBefore <= 0 {
		return nil
	}
	return now + n.StartBefore.Microseconds()
}

// metaColumn returns a Meta as the column of tasks.
func metaColumn(meta map[string]string) any {
	if len(meta) == 0 {
		return nil
	}
	return storekit.FormatMeta(meta)
}

// blob returns an empty value instead of NULL for an empty payload.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
