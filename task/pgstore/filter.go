package pgstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// filter is a query, with the arguments of the statement that answers it. Sources are tables t with
// the columns id and created, in the order of an index as far as possible.
type filter struct {
	task.Query
	args  []any
	most  int
	limit string // the argument of most
	// where are conditions on a source that has all columns of tasks and status.
	where []string

	afterID      [16]byte
	afterCreated time.Time
}

// arg adds an argument, and returns its name.
func (f *filter) arg(a any) string {
	f.args = append(f.args, a)
	return fmt.Sprintf("$%d", len(f.args))
}

// filterOf reads a query; nil means that it admits no task.
func (s *Store) filterOf(ctx context.Context, q task.Query) (*filter, error) {
	f := &filter{Query: q, most: cmp.Or(q.Limit, 100)}
	f.limit = f.arg(int64(f.most))
	if q.Status != "" && !slices.Contains(task.Statuses(), q.Status) {
		return nil, nil
	}
	if q.After == "" {
		return f, nil
	}
	var err error
	if f.afterID, err = mustID(q.After); err != nil {
		return nil, err
	}
	err = s.pool.QueryRow(ctx, s.q.CreatedOf, f.afterID).Scan(&f.afterCreated)
	if noRows(err) {
		f.afterCreated, err = createdOf(q.After)
	}
	return f, err
}

// after is a condition on the columns created and id of t, empty for none.
func (f *filter) after() string {
	if f.After == "" {
		return ""
	}
	created, id := f.arg(f.afterCreated), f.arg(f.afterID)
	return fmt.Sprintf("t.created <= %s and (t.created, t.id) < (%s, %s)", created, created, id)
}

// equal is a condition for each value that is asked for.
func (f *filter) equal(columns ...string) (all []string) {
	for _, column := range columns {
		value := map[string]string{"kind": f.Kind, "queue": f.Queue, "key": f.Key, "status": string(f.Status)}[column]
		if value != "" {
			all = append(all, "t."+column+" = "+f.arg(value))
		}
	}
	if after := f.after(); after != "" {
		all = append(all, after)
	}
	return all
}

func whereAll(conditions []string) string {
	if len(conditions) == 0 {
		return ""
	}
	return " where " + strings.Join(conditions, " and ")
}

// newest picks the ids of the newest tasks of a source.
func newest(source, limit string) string {
	return "select t.id, t.created from " + source + " order by t.created desc, t.id desc limit " + limit
}

const (
	ofTasks   = `@.tasks t`
	ofRunning = `(select task as id, created, kind, queue, key from @.running) t`
	ofEnded   = `(select task as id, created, kind, queue, status from @.ended) t`
	// The probes find out the status of one task. As they may answer with one row only, each is
	// looked for by its key.
	endedProbe   = `(select true from @.ended e where e.created = t.created and e.task = t.id and e.status = %s limit 1)`
	runningProbe = `(select true from @.running r where r.task = t.id limit 1)`
	waitingProbe = `(select true from (
		(select 1 from @.ready r where r.created = t.created and r.id = t.id and r.queued = %[1]s limit 1)
		union all
		(select 1 from @.delayed r where r.created = t.created and r.id = t.id and r.queued = %[1]s limit 1)
	) w limit 1)`
)

// source is a table t that has the tasks that are asked for, and no others.
func (f *filter) source(kinds []string) string {
	switch {
	case f.Key != "":
		conditions := f.equal("key", "kind", "queue")
		if f.Status != "" {
			conditions = append(conditions, f.probe())
		}
		return ofTasks + whereAll(conditions)
	case f.Status == "" && f.Queue != "" && f.Kind == "":
		return f.ofEachKind(kinds, ofTasks, f.equal("queue"))
	case f.Status == "":
		return ofTasks + whereAll(f.equal("kind", "queue"))
	case f.Status == task.StatusRunning:
		return ofRunning + whereAll(f.equal("kind", "queue"))
	case f.Status.Claimable():
		conditions := append(f.equal("kind", "queue"), "t.queued = "+f.arg(f.Status == task.StatusQueued))
		return "((" + newest("@.ready t"+whereAll(conditions), f.limit) + ") union all (" + newest("@.delayed t"+whereAll(conditions), f.limit) + ")) t"
	case f.Status == task.StatusSucceeded && f.Kind != "":
		return ofTasks + whereAll(append(f.equal("kind", "queue"), f.probe()))
	case f.Status == task.StatusSucceeded && f.Queue != "":
		return f.ofEachKind(kinds, ofTasks, append(f.equal("queue"), f.probe()))
	case f.Status == task.StatusSucceeded:
		return ofEnded + whereAll(f.equal("status"))
	}
	return ofEnded + whereAll(append(f.equal("status", "kind", "queue"), "t.status <> 'succeeded'")) // the indexes are for these
}

// ofEachKind merges the newest tasks of each kind.
func (f *filter) ofEachKind(kinds []string, table string, conditions []string) string {
	conditions = append(conditions, "t.kind = k.kind")
	return "(select t.id, t.created from unnest(" + f.arg(kinds) + "::text[]) as k(kind), lateral (" + newest(table+whereAll(conditions), f.limit) + ") t) t"
}

// probe is a condition that finds out a task's status.
func (f *filter) probe() string {
	switch {
	case f.Status == task.StatusRunning:
		return runningProbe
	case f.Status.Claimable():
		return fmt.Sprintf(waitingProbe, f.arg(f.Status == task.StatusQueued))
	}
	return fmt.Sprintf(endedProbe, f.arg(string(f.Status)))
}

// few is a statement that gives the rows that are worth looking at first, if there are few of them:
// of the routes that wait, or of the tasks of a queue. The conditions that they must meet are in
// where.
func (f *filter) few(kinds []string) (rows string, ok bool) {
	switch {
	case f.Key != "" || f.Kind == "" && f.Queue == "":
		return "", false
	case f.Status.Claimable():
		var routes string
		if f.Queue == "" {
			routes = "between " + f.arg(firstRoute(f.Kind)) + " and " + f.arg(lastRoute(f.Kind))
		} else {
			numbers := []int64{route{kind: f.Kind, queue: f.Queue}.number()}
			if f.Kind == "" {
				numbers = numbers[:0]
				for _, kind := range kinds {
					numbers = append(numbers, route{kind: kind, queue: f.Queue}.number())
				}
			}
			routes = "= any (" + f.arg(numbers) + "::bigint[])"
		}
		f.where = append(f.equal("kind", "queue"), "t.queued = "+f.arg(f.Status == task.StatusQueued))
		const columns = `select id, created, kind, queue, queued from `
		return columns + `@.ready where not suspect and route ` + routes + ` union all ` + columns + `@.ready where suspect and route ` + routes +
			` union all ` + columns + `@.delayed where route ` + routes, true
	case f.Status != "" && f.Status != task.StatusRunning && (f.Kind == "" || f.Status == task.StatusSucceeded):
		var source string
		if f.Kind != "" {
			source = ofTasks + whereAll(f.equal("kind", "queue"))
		} else {
			source = f.ofEachKind(kinds, ofTasks, f.equal("queue"))
		}
		f.where = []string{f.probe()}
		return "select t.id, t.created from " + strings.ReplaceAll(source, " limit "+f.limit, fmt.Sprintf(" limit %d", fewRows)) + " order by t.created desc, t.id desc", true
	}
	return "", false
}

// fewRows bounds what few gives.
const fewRows = 20_000

// fewStatement reports whether few gave all, and the newest of those that meet the conditions.
func (f *filter) fewStatement(rows string) string {
	return fmt.Sprintf("with s as materialized (%s limit %d) select (select count(*) from s) < %d, array(select t.id from s t%s order by t.created desc, t.id desc limit %s)",
		rows, fewRows, fewRows, whereAll(f.where), f.limit)
}

// admitted leaves out tasks that the query does not admit.
func (f *filter) admitted(tasks []task.Task) []task.Task {
	return slices.DeleteFunc(tasks, func(t task.Task) bool {
		return f.Status != "" && t.Status != f.Status || f.Kind != "" && t.Kind != f.Kind || f.Queue != "" && t.Queue != f.Queue || f.Key != "" && t.Key != f.Key
	})
}
