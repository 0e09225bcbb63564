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

// adding is a call of Add.
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

// kindKey is a key with its scope.
type kindKey struct{ kind, key string }

// addAll makes the tasks of several calls.
func (s *Store) addAll(t *txn, calls []*adding) error {
	now := s.now().UnixMicro()
	if err := t.expireAll(now); err != nil { // they may have the keys
		return err
	}
	exists, holders, err := t.existing(calls)
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
				same := first.is(n)
				a.added[i] = task.AddResult{ID: n.ID, Existed: same, Conflict: !same}
				continue
			case held:
				a.added[i] = task.AddResult{ID: holder, Existed: true}
				continue
			case n.Key != "":
				holders[k] = n.ID
			}
			exists[n.ID] = known{fresh: n}
			a.added[i] = task.AddResult{ID: n.ID}
			accepted = append(accepted, n)
		}
	}
	if len(accepted) == 0 {
		return nil
	}
	t.news = true
	return t.insertTasks(accepted, now)
}

// known is a task that has an id: a fresh one, or one that the file has. Of the latter the payload's
// hash is kept, since a payload may be much larger than the one that is compared with it.
type known struct {
	fresh   *task.NewTask
	kind    string
	payload [sha256.Size]byte
}

// is reports whether a new task of that id is the same one (rule 32).
func (k known) is(n *task.NewTask) bool {
	if k.fresh != nil {
		return k.fresh.Kind == n.Kind && bytes.Equal(k.fresh.Payload, n.Payload)
	}
	return k.kind == n.Kind && k.payload == sha256.Sum256(n.Payload)
}

// existing returns the tasks that have ids of the calls, and the holders of their keys.
func (t *txn) existing(calls []*adding) (exists map[string]known, holders map[kindKey]string, err error) {
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
		)
		err := rows.Scan(&id, &k.kind, &payload)
		k.payload = sha256.Sum256(payload)
		exists[id] = k
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	holders, err = t.holders(keys)
	return exists, holders, err
}

// holders returns the tasks that have the keys of a list of pairs of a kind and a key.
func (t *txn) holders(keys [][2]string) (map[kindKey]string, error) {
	holders := make(map[kindKey]string)
	arg, err := list(keys)
	if err != nil {
		return nil, err
	}
	err = each(context.Background(), t, "KeyHolders", []any{arg}, func(rows *sql.Rows) error {
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

// insertTasks writes new tasks. They get numbers in the order of their ids, so that those which are
// as old as each other are beside each other in every table.
func (t *txn) insertTasks(accepted []*task.NewTask, now int64) error {
	slices.SortFunc(accepted, func(a, b *task.NewTask) int { return cmp.Compare(a.ID, b.ID) })
	var last int64
	if err := one(context.Background(), t, "LastNumber", nil, &last); err != nil {
		return err
	}
	tasks, waiting := make([]any, 0, 10*len(accepted)), make([]any, 0, 9*len(accepted))
	var keys []any
	for i, n := range accepted {
		number, priority := last+1+int64(i), int64(n.Priority)
		runAt := now + n.Delay.Microseconds()
		tasks = append(tasks, number, n.ID, now, n.Kind, n.Queue, n.Key, priority, runAt, metaColumn(n.Meta), blob(n.Payload))
		waiting = append(waiting, number, n.ID, n.Kind, n.Queue, runAt <= now, priority, runAt, now, startBefore(n, now))
		if n.Key != "" {
			keys = append(keys, number, n.Kind, n.Key)
		}
	}
	if err := t.rows("AddTasks", tasks); err != nil {
		return err
	}
	if err := t.rows("AddWaiting", waiting); err != nil {
		return err
	}
	return t.rows("AddKeys", keys)
}

// startBefore is until when a new task's first claim must come, as waiting has it.
func startBefore(n *task.NewTask, now int64) any {
	if n.StartBefore <= 0 {
		return nil
	}
	return now + n.StartBefore.Microseconds()
}

// metaColumn is a Meta as tasks has it.
func metaColumn(meta map[string]string) any {
	if len(meta) == 0 {
		return nil
	}
	return storekit.FormatMeta(meta)
}

// blob is an empty value rather than NULL for a payload of nothing.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
