package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// The figures of reading. For filters, and for the statements on the view, the figure is that of
// the slowest one.
const (
	filtersP95 = "each filter, each pair p95 ms"
	hardlyP95  = "common ones that hardly meet p95 ms"
	getP95     = "Get p95 ms"
	historyP95 = "History p95 ms"
	countP95   = "Count p95 ms"
	viewP95    = "view by status, kind, time p95 ms"
)

// findAmong reads in a store of many tasks: with every filter of Find alone and with every pair,
// single tasks and their runs, counts, and the public view.
func findAmong() (figures, error) {
	return withDataset(func(db database, ids []string) (found figures, err error) {
		store, err := openPostgres(db)
		if err != nil {
			return nil, err
		}
		defer func() { err = cmp.Or(err, store.Close()) }()
		r := &reader{client: task.NewClient(store), ids: ids}
		if found, err = r.filters(); err != nil {
			return nil, err
		}
		others, err := r.single()
		if err != nil {
			return nil, err
		}
		view, err := r.view(db)
		return found.merge(others).merge(view), err
	})
}

// reader reads the data set.
type reader struct {
	client *task.Client
	ids    []string // of tasks that have ended, the oldest first
}

// filter is a value for one of the filters of Find. A common one matches more than a thousand
// tasks.
type filter struct {
	of, value string
	common    bool
	set       func(q *task.Query)
}

func (f filter) String() string { return f.of + "=" + f.value }

// values returns values for every filter, rare ones and common ones.
func (r *reader) values() []filter {
	var all []filter
	for _, s := range task.Statuses() {
		all = append(all, filter{"status", string(s), s != task.StatusInterrupted, func(q *task.Query) { q.Status = s }})
	}
	for _, k := range []string{mail, report, rare} {
		all = append(all, filter{"kind", k, k != rare, func(q *task.Query) { q.Kind = k }})
	}
	for _, name := range []string{task.DefaultQueue, reports, smallQueue(7)} {
		all = append(all, filter{"queue", name, name != smallQueue(7), func(q *task.Query) { q.Queue = name }})
	}
	for _, key := range []string{dailyKey, customerKey(customers)} {
		all = append(all, filter{"key", key, false, func(q *task.Query) { q.Key = key }})
	}
	old, middle := r.ids[len(r.ids)/50], r.ids[len(r.ids)/2]
	return append(all,
		filter{"after", "an old one", true, func(q *task.Query) { q.After = old }},
		filter{"after", "one in the middle", true, func(q *task.Query) { q.After = middle }},
		filter{"ids", "a hundred", false, func(q *task.Query) { q.IDs = r.some(100) }})
}

// some returns n ids spread over all ages.
func (r *reader) some(n int) []string {
	var ids []string
	for i := range n {
		ids = append(ids, r.ids[i*len(r.ids)/n])
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// timing is the 95th percentile of the times of one query.
type timing struct {
	name string
	p95  float64
}

// filters times each filter, and each pair of different ones. Pairs of common filters that fewer
// than a page of tasks match are reported separately, as "hardly meet".
func (r *reader) filters() (figures, error) {
	var all, hardly []timing
	values := r.values()
	for i, a := range values {
		for _, b := range values[i:] {
			name, q := a.String(), task.Query{}
			if a.of == b.of && a.value != b.value {
				continue
			}
			a.set(&q)
			if a.of != b.of {
				b.set(&q)
				name += ", " + b.String()
			}
			n := 0
			p95, err := repeated(20, func() error {
				got, err := r.client.Find(context.Background(), q)
				n = len(got)
				return cmp.Or(err, admitted(q, got))
			})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if a.of != b.of && a.common && b.common && n < 100 {
				hardly = append(hardly, timing{name, p95})
			} else {
				all = append(all, timing{name, p95})
			}
		}
	}
	return figures{filtersP95: slowest("filters", all), hardlyP95: slowest("hardly meet", hardly)}, nil
}

// admitted checks that an answer has only tasks that match the query.
func admitted(q task.Query, got []task.Task) error {
	for _, t := range got {
		if q.Status != "" && t.Status != q.Status || q.Kind != "" && t.Kind != q.Kind ||
			q.Queue != "" && t.Queue != q.Queue ||
			q.Key != "" && t.Key != q.Key || q.IDs != nil && !slices.Contains(q.IDs, t.ID) {
			return fmt.Errorf("task %s does not belong in the answer", t.ID)
		}
	}
	return nil
}

// slowest returns the largest of the times, and prints the names of the slowest ones.
func slowest(what string, all []timing) float64 {
	slices.SortFunc(all, func(a, b timing) int { return cmp.Compare(b.p95, a.p95) })
	fmt.Fprintf(os.Stderr, "    %d %s; the slowest:\n", len(all), what)
	for _, t := range all[:min(5, len(all))] {
		fmt.Fprintf(os.Stderr, "      %8.1f ms  %s\n", t.p95, t.name)
	}
	return all[0].p95
}

// patience limits for how long one query is repeated.
const patience = 3 * time.Second

// repeated calls a function n times, fewer if that takes too long, and returns the 95th percentile
// of its times.
func repeated(n int, do func() error) (float64, error) {
	n = max(n/min(load, 10), 3)
	var all []float64
	for until := time.Now().Add(patience); len(all) == 0 || len(all) < n && time.Now().Before(until); {
		began := time.Now()
		if err := do(); err != nil {
			return 0, err
		}
		all = append(all, milliseconds(time.Since(began)))
	}
	return quantile(all, 0.95), nil
}

// single times the reads that concern one task, and the count of all.
func (r *reader) single() (figures, error) {
	ctx, ids, i := context.Background(), r.some(1000), 0
	next := func() string { i++; return ids[i%len(ids)] }
	found := figures{}
	for _, do := range []struct {
		name string
		n    int
		fn   func() error
	}{
		{getP95, len(ids), func() error { _, err := r.client.Get(ctx, next()); return err }},
		{historyP95, len(ids), func() error { _, err := r.client.History(ctx, next()); return err }},
		{countP95, 20, func() error { _, err := r.client.Count(ctx); return err }},
	} {
		var err error
		if found[do.name], err = repeated(do.n, do.fn); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// view times the statements on the public view.
func (r *reader) view(db database) (figures, error) {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, db.dsn)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close(ctx) }() // nothing depends on it
	middle, err := r.client.Get(ctx, r.ids[len(r.ids)/2])
	if err != nil {
		return nil, err
	}
	from, to := middle.Created, middle.Created.Add(time.Second)
	type query struct {
		name, sql string
		args      []any
	}
	queries := []query{{"time", viewByTime, []any{from, to}}}
	for _, s := range task.Statuses() {
		queries = append(queries, query{"status=" + string(s), viewByStatus, []any{string(s)}})
	}
	for _, k := range []string{mail, report, rare} {
		queries = append(queries, query{"kind=" + k, viewByKind, []any{k}})
	}
	var all []timing
	for _, q := range queries {
		p95, err := repeated(20, func() error {
			// Plan the statement for its values, like one that a person types.
			rows, err := c.Query(ctx, q.sql, append([]any{pgx.QueryExecModeExec}, q.args...)...)
			if err != nil {
				return err
			}
			_, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("the view by %s: %w", q.name, err)
		}
		all = append(all, timing{q.name, p95})
	}
	return figures{viewP95: slowest("statements on the view", all)}, nil
}
