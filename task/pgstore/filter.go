package pgstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// filter is a query, with the arguments of the statement that answers it. Each part of such a
// statement calls its table t.
type filter struct {
	task.Query
	args  []any
	most  int
	limit string // the name of the argument with most

	start   bool // the listing begins behind a position: afterID, and its time in the order
	afterID [16]byte
	afterAt time.Time
}

// arg adds an argument, and returns its name in the statement.
func (f *filter) arg(a any) string {
	f.args = append(f.args, a)
	return fmt.Sprintf("$%d", len(f.args))
}

// filterOf reads a query. Nil means that the query admits no task.
func (s *Store) filterOf(ctx context.Context, q task.Query) (*filter, error) {
	f := &filter{Query: q, most: cmp.Or(q.Limit, 100)}
	f.limit = f.arg(int64(f.most))
	if q.Status != "" && !slices.Contains(task.Statuses(), q.Status) {
		return nil, nil
	}
	at, start, err := q.Start()
	if err != nil || !start {
		return f, err
	}
	f.start, f.afterAt = true, at.At
	if f.afterID, err = mustID(at.ID); err != nil || !at.At.IsZero() {
		return f, err
	}
	err = s.pool.QueryRow(ctx, s.q.CreatedOf, f.afterID).Scan(&f.afterAt)
	if noRows(err) {
		f.afterAt, err = createdOf(at.ID)
	}
	return f, err
}

// after returns a condition on the columns created and id, empty if the listing begins at the
// newest task.
func (f *filter) after() string {
	if !f.start {
		return ""
	}
	return fmt.Sprintf("(t.created, t.id) < (%s, %s)", f.arg(f.afterAt), f.arg(f.afterID))
}

// value returns the value that the query asks for in a column.
func (f *filter) value(column string) string {
	return map[string]string{"kind": f.Kind, "queue": f.Queue, "key": f.Key, "status": string(f.Status)}[column]
}

// equal returns a condition for each of some columns for which the query has a value.
func (f *filter) equal(columns ...string) (all []string) {
	for _, column := range columns {
		if value := f.value(column); value != "" {
			all = append(all, "t."+column+" = "+f.arg(value))
		}
	}
	return all
}

// newest picks the newest tasks of a table that has them in the order of created.
func (f *filter) newest(table, limit string, conditions ...string) string {
	if f.start {
		conditions = append(conditions, "t.created <= "+f.arg(f.afterAt), f.after())
	}
	conditions = append(conditions, f.within("t.created", f.Created)...)
	where := ""
	if len(conditions) > 0 {
		where = " where " + strings.Join(conditions, " and ")
	}
	return "select " + sourceColumns + " from " + table + where + " order by t.created desc, t.id desc limit " + limit
}

// sourceColumns are the columns that are picked from a table: those that identify a task, and those
// that a search examines first.
const sourceColumns = "t.id, t.created, t.kind, t.queue"

// within returns the conditions for a time within a span.
func (f *filter) within(column string, s task.Span) (conditions []string) {
	if !s.From.IsZero() {
		conditions = append(conditions, column+" >= "+f.arg(micros(s.From)))
	}
	if !s.To.IsZero() {
		conditions = append(conditions, column+" < "+f.arg(micros(s.To)))
	}
	return conditions
}

// micros returns the first microsecond that is not before a time.
func micros(t time.Time) time.Time {
	return t.Add(time.Microsecond - time.Nanosecond).Truncate(time.Microsecond)
}

// along picks the newest tasks of a table by the index that has the given columns before created,
// each with the value that the query asks for. It names the index by a range and an order of all
// its columns. With "kind = $1" the planner could use any index that has the order of created. It
// expects that every kind has many tasks, so it would read the index of created alone, to its end
// if need be.
func (f *filter) along(table string, columns []string, limit string, conditions ...string) string {
	values := make([]string, len(columns))
	names := make([]string, len(columns))
	order := ""
	for i, column := range columns {
		if names[i] = "t." + column; column == "kind" && f.Kind == "" {
			values[i] = "k.kind" // each kind of the queue in turn: see ofTasks
		} else {
			values[i] = f.arg(f.value(column))
		}
		order += names[i] + " desc, "
	}
	row, at := strings.Join(names, ", "), strings.Join(values, ", ")
	last := "'infinity'"
	if f.start {
		last = f.arg(f.afterAt)
		conditions = append(conditions, f.after())
	}
	conditions = append(conditions, f.within("t.created", f.Created)...)
	all := append([]string{fmt.Sprintf("(%s, t.created) >= (%s, '-infinity') and (%s, t.created) <= (%s, %s)", row, at, row, at, last)}, conditions...)
	return "select " + sourceColumns + " from " + table + " where " + strings.Join(all, " and ") + " order by " + order + "t.created desc, t.id desc limit " + limit
}

const (
	ofTasks   = `@.tasks t`
	ofRunning = `(select task as id, created, kind, queue, key from @.running) t`
	ofEnded   = `(select task as id, created, kind, queue, status from @.ended) t`
	// The probes find out the status of one task. The limit of one row makes the planner look up each
	// by its key.
	endedProbe   = `(select true from @.ended e where e.created = t.created and e.task = t.id and e.status = %s limit 1)`
	runningProbe = `(select true from @.running r where r.task = t.id limit 1)`
	waitingProbe = `(select true from (
		(select 1 from @.ready r where r.created = t.created and r.id = t.id and r.status = %[1]s limit 1)
		union all
		(select 1 from @.delayed r where r.created = t.created and r.id = t.id and r.status = %[1]s limit 1)
	) w limit 1)`
)

// pick picks the newest tasks that the query asks for, and no others.
func (f *filter) pick(kinds []string) string {
	switch {
	case f.Key != "":
		conditions := f.equal("kind", "queue")
		if f.Status != "" {
			conditions = append(conditions, f.probe())
		}
		// The same condition as that of the index.
		return f.along(ofTasks, []string{"key"}, f.limit, append(conditions, "t.key is not null")...)
	case f.Status == "":
		return f.ofTasks(kinds, f.limit)
	case f.Status == task.StatusRunning:
		return f.newest(ofRunning, f.limit, f.equal("kind", "queue")...)
	case f.Status.Claimable():
		// The status is a literal, so that the planner can use the index of interrupted tasks alone.
		conditions := append(f.equal("kind", "queue"), "t.status = '"+string(f.Status)+"'")
		return f.newest("(("+f.newest("@.ready t", f.limit, conditions...)+") union all ("+f.newest("@.delayed t", f.limit, conditions...)+")) t", f.limit)
	case f.Status == task.StatusSucceeded && f.Kind == "" && f.Queue == "":
		return f.newest(ofEnded, f.limit, f.equal("status")...)
	case f.Status == task.StatusSucceeded:
		return f.ofTasks(kinds, f.limit, f.probe())
	case f.Kind != "":
		return f.along(ofEnded, []string{"status", "kind"}, f.limit, f.unsuccessful()...)
	}
	return f.along(ofEnded, []string{"status"}, f.limit, f.unsuccessful()...)
}

// unsuccessful returns the conditions for tasks that have failed or were cancelled. The indexes are
// for these alone.
func (f *filter) unsuccessful() []string {
	return append(f.equal("queue"), "t.status <> 'succeeded'")
}

// ofTasks picks the newest tasks of a kind and a queue, whatever their status. An empty kind or
// queue means any. The tasks of a queue are read kind by kind, and merged.
func (f *filter) ofTasks(kinds []string, limit string, conditions ...string) string {
	switch {
	case f.Kind == "" && f.Queue == "":
		return f.newest(ofTasks, limit, conditions...)
	case f.Queue == "":
		return f.along(ofTasks, []string{"kind"}, limit, conditions...)
	case f.Kind != "":
		return f.along(ofTasks, []string{"queue", "kind"}, limit, conditions...)
	}
	return "select " + sourceColumns + " from pg_catalog.unnest(" + f.arg(kinds) + "::text[]) as k(kind), lateral (" +
		f.along(ofTasks, []string{"queue", "kind"}, limit, conditions...) + ") t order by t.created desc, t.id desc limit " + limit
}

// probe returns a condition that finds out whether a task has the status that the query asks for.
func (f *filter) probe() string {
	switch {
	case f.Status == task.StatusRunning:
		return runningProbe
	case f.Status.Claimable():
		return fmt.Sprintf(waitingProbe, f.arg(string(f.Status)))
	}
	return fmt.Sprintf(endedProbe, f.arg(string(f.Status)))
}

// fewRows bounds the rows that a first look reads.
const fewRows = 20_000

// firstLook is a part of a statement that returns at most fewRows rows. Those of them that meet the
// conditions are tasks that the query asks for.
type firstLook struct {
	rows       string
	conditions []string
	sorted     bool // the newest come first
}

// firstLooks returns what is worth trying, one after the other, for a query with two filters that
// may each match many tasks and together few.
func (f *filter) firstLooks(kinds []string) []func() firstLook {
	most := strconv.Itoa(fewRows)
	amongTasks := func() firstLook {
		return firstLook{rows: f.ofTasks(kinds, most), conditions: []string{f.probe()}, sorted: true}
	}
	switch {
	case f.Key != "" || f.Kind == "" && f.Queue == "" || f.Status == "" || f.Status == task.StatusRunning:
		return nil
	case f.Status.Claimable():
		return []func() firstLook{func() firstLook { return f.ofRoutes(kinds, most) }}
	case f.Status == task.StatusSucceeded:
		return []func() firstLook{func() firstLook {
			rows := strings.Replace(f.newest(ofEnded, most), "select "+sourceColumns, "select t.*", 1)
			return firstLook{rows: rows, conditions: f.equal("kind", "queue", "status"), sorted: true}
		}, amongTasks}
	case f.Kind == "":
		return []func() firstLook{amongTasks}
	}
	return nil
}

// ofRoutes reads the tasks that wait on the routes that the query asks for.
func (f *filter) ofRoutes(kinds []string, most string) firstLook {
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
	look := firstLook{conditions: f.equal("kind", "queue", "status")}
	if f.start {
		look.conditions = append(look.conditions, f.after())
	}
	const columns = `select id, created, kind, queue, status from `
	look.rows = columns + `@.ready where suspicion is null and route ` + routes + ` union all ` + columns + `@.ready where suspicion is not null and route ` + routes +
		` union all ` + columns + `@.delayed where route ` + routes + ` limit ` + most
	return look
}

// statement picks the newest tasks of a first look, and reports whether they are all that the query
// asks for. Where the newest rows come first it takes them as they come, and stops when it has
// enough: to sort them once more would read and probe all of them.
func (l firstLook) statement(f *filter) string {
	order := " order by t.created desc, t.id desc"
	if l.sorted {
		order = ""
	}
	return fmt.Sprintf(`with s as not materialized (%s), hits as materialized (select t.id, t.created from s t where %s%s limit %s)
		select (select pg_catalog.count(*) from hits) = %[4]s or (select pg_catalog.count(*) from s) < %d, array(select id from hits), array(select created from hits)`,
		l.rows, strings.Join(l.conditions, " and "), order, f.limit, fewRows)
}
