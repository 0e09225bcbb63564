package pgstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// A search answers a query for which no index has all filters. It reads the index that covers most
// of them, in the order of the listing, and examines each task on the way, up to a bounded number.

// partsOf returns the combinations of the statuses, kinds and queues that a query asks for, each as
// a query of its own (a part). No parts mean that the query admits no task. kinds has, for each
// queue that a part has without a kind, the kinds that have tasks in it. If whole is false the
// sources of the parts also return other tasks.
func (s *Store) partsOf(ctx context.Context, q task.Query) (parts []task.Query, kinds map[string][]string, whole bool, err error) {
	statuses, some := q.AllStatuses()
	ofKinds, someKinds := q.AllKinds()
	ofQueues, someQueues := q.AllQueues()
	if !some || !someKinds || !someQueues {
		return nil, nil, false, nil
	}
	several := len(statuses) > 1
	if q.Order == task.OrderFinished { // the index of ends has neither kinds nor queues
		ofKinds, ofQueues = nil, nil
		if statuses = slices.DeleteFunc(statuses, func(s task.Status) bool { return !s.Ended() }); len(statuses) == 0 && several {
			return nil, nil, false, nil
		}
	}
	if several {
		statuses = apart(q, statuses, len(ofKinds)+len(ofQueues) > 0)
	}
	kinds = make(map[string][]string)
	for _, status := range orNone(statuses) {
		for _, kind := range orNone(ofKinds) {
			for _, queue := range orNone(ofQueues) {
				part := q
				part.Status, part.Kind, part.Queue = status, kind, queue
				part.Statuses, part.Kinds, part.Queues = nil, nil, nil
				parts = append(parts, part)
				if _, known := kinds[queue]; !known && queue != "" && kind == "" {
					if kinds[queue], err = s.kindsOfQueue(ctx, queue); err != nil {
						return nil, nil, false, err
					}
				}
			}
		}
	}
	return parts, kinds, !several, nil
}

// apart returns statuses whose sources have no task in common, and together have all tasks with one
// of the given statuses. A source may have tasks with other statuses too.
func apart(q task.Query, statuses []task.Status, ofKinds bool) []task.Status {
	has := func(s task.Status) bool { return slices.Contains(statuses, s) }
	without := func(others ...task.Status) {
		statuses = slices.DeleteFunc(statuses, func(s task.Status) bool { return slices.Contains(others, s) })
	}
	switch {
	case q.Key != "", has(task.StatusSucceeded) && (ofKinds || q.Order == task.OrderFinished):
		return nil // the source of each would read all tasks
	case has(task.StatusSucceeded):
		without(task.StatusFailed, task.StatusCancelled)
	}
	if has(task.StatusQueued) {
		without(task.StatusInterrupted)
	}
	return statuses
}

// orNone returns a list, or for an empty one a list with the empty value, which stands for any.
func orNone[T ~string](all []T) []T {
	if len(all) == 0 {
		return []T{""}
	}
	return all
}

// searched reports whether a query has a filter that must be checked task by task, or has another
// order.
func searched(q task.Query) bool {
	return q.Order == task.OrderFinished || len(q.Reasons) > 0 || q.Worker != "" || q.ErrorText != "" || len(q.Meta) > 0 || !q.Started.IsZero() || !q.Finished.IsZero()
}

// exact reports whether pick reads only tasks that the query asks for.
func (f *filter) exact() bool {
	switch {
	case f.Key != "":
		return f.Status == "" && f.Kind == "" && f.Queue == ""
	case f.Status == "", f.Status == task.StatusRunning: // running is scanned in any case
		return true
	case f.Status == task.StatusFailed, f.Status == task.StatusCancelled:
		return f.Queue == ""
	}
	return false
}

// source reads the index that covers most of a part of the query, and returns the place in the
// order as the column at. Filters that it does not cover are checked on its rows.
func (f *filter) source(kinds []string, limit string) string {
	created := func(pick string) string { return "select t.*, t.created as at from (" + pick + ") t" }
	switch {
	case f.Order == task.OrderFinished:
		return f.ends(limit)
	case f.Key != "":
		return created(f.along(ofTasks, []string{"key"}, limit, "t.key is not null"))
	case f.Status == task.StatusRunning:
		return created(f.newest(ofRunning, limit, f.equal("kind", "queue")...))
	case f.Status.Claimable():
		var ready []string
		if f.Status == task.StatusInterrupted {
			ready = []string{"t.status = 'interrupted'"} // as the condition of the index
		}
		return created(f.newest("(("+f.newest("@.ready t", limit, ready...)+") union all ("+f.newest("@.delayed t", limit)+")) t", limit))
	case f.Status == task.StatusSucceeded && f.Kind == "" && f.Queue == "":
		return created(f.newest(ofEnded, limit))
	case f.Status == "" || f.Status == task.StatusSucceeded:
		return created(f.ofTasks(kinds, limit))
	case f.Kind != "":
		return created(f.along(ofEnded, []string{"status", "kind"}, limit, "t.status <> 'succeeded'"))
	}
	return created(f.along(ofEnded, []string{"status"}, limit, "t.status <> 'succeeded'"))
}

// walkedFor returns a part with only the filters that its source covers.
func walkedFor(part task.Query) task.Query {
	switch {
	case part.Order == task.OrderFinished, part.Key != "", part.Status.Claimable():
		part.Kind, part.Queue = "", ""
	case part.Status == task.StatusFailed, part.Status == task.StatusCancelled:
		part.Queue = ""
	}
	return part
}

// ends reads the index of the times of ends.
func (f *filter) ends(limit string) string {
	conditions := f.within("t.ended", f.Finished)
	if f.start {
		conditions = append(conditions, "t.ended <= "+f.arg(f.afterAt), fmt.Sprintf("(t.ended, t.task) < (%s, %s)", f.arg(f.afterAt), f.arg(f.afterID)))
	}
	order := "t.ended desc"
	if f.Status == task.StatusFailed || f.Status == task.StatusCancelled {
		last := "'infinity'"
		if f.start {
			last = f.arg(f.afterAt)
		}
		status := f.arg(string(f.Status))
		conditions = append(conditions, "t.status <> 'succeeded'", fmt.Sprintf("(t.status, t.ended) >= (%s, '-infinity') and (t.status, t.ended) <= (%s, %s)", status, status, last))
		order = "t.status desc, t.ended desc"
	}
	where := ""
	if len(conditions) > 0 {
		where = " where " + strings.Join(conditions, " and ")
	}
	return "select t.task as id, t.created, t.kind, t.queue, t.ended as at from @.ended t" + where + " order by " + order + ", t.task desc limit " + limit
}

// These joins find out the state of a task, as ReadPicked does.
const (
	stateProbes = `left join lateral (select * from @.ended e where e.created = s.created and e.task = s.id limit 1) e on true
		left join lateral (select * from @.running r where e.task is null and r.task = s.id limit 1) r on true
		left join lateral (
			(select * from @.ready q where e.task is null and r.task is null and q.created = s.created and q.id = s.id limit 1)
			union all
			(select * from @.delayed q where e.task is null and r.task is null and q.created = s.created and q.id = s.id limit 1)
			limit 1
		) q on true`
	lastRunProbe = ` left join lateral (
			select * from @.runs l where e.started is null and l.task = s.id and l.run = coalesce(r.last_run, q.last_run, case when e.started is null then e.run end) limit 1
		) l on true`
	workerProbe  = ` left join lateral (select w.id from @.workers w where w.worker = coalesce(r.worker, e.worker, l.worker) limit 1) w on true`
	taskProbe    = ` left join lateral (select t.key, t.meta from @.tasks t where t.id = s.id limit 1) t on true`
	statusOfTask = `case when e.task is not null then e.status when r.task is not null then 'running' when q.queued then 'queued' else 'interrupted' end`
)

// looked returns the conditions of a query, and the probes that they need.
func (f *filter) looked(q task.Query) (probes string, conditions []string) {
	add := func(condition string, args ...any) {
		names := make([]any, len(args))
		for i := range args {
			names[i] = f.arg(args[i])
		}
		conditions = append(conditions, fmt.Sprintf(condition, names...))
	}
	if kinds, _ := q.AllKinds(); len(kinds) > 0 {
		add("s.kind = any (%s::text[])", kinds)
	}
	if queues, _ := q.AllQueues(); len(queues) > 0 {
		add("s.queue = any (%s::text[])", queues)
	}
	conditions = append(conditions, f.within("s.created", q.Created)...)
	probes = stateProbes
	if statuses, _ := q.AllStatuses(); len(statuses) > 0 {
		add(statusOfTask+" = any (%s::text[])", words(statuses))
	}
	if len(q.Reasons) > 0 {
		add("coalesce(r.reason, q.reason, e.reason, '') = any (%s::text[])", words(q.Reasons))
	}
	if q.ErrorText != "" || q.Worker != "" || !q.Started.IsZero() {
		probes += lastRunProbe
	}
	if q.ErrorText != "" {
		add("pg_catalog.strpos(case when e.started is not null then coalesce(e.error, '') else coalesce(l.error, '') end, %s) > 0", q.ErrorText)
	}
	if q.Worker != "" {
		probes += workerProbe
		add("coalesce(w.id, coalesce(r.worker, e.worker, l.worker)::text, '') = %s", q.Worker)
	}
	conditions = append(conditions, f.within("coalesce(r.started, e.started, l.started)", q.Started)...)
	conditions = append(conditions, f.within("e.ended", q.Finished)...)
	if q.Key != "" || len(q.Meta) > 0 {
		probes += taskProbe
	}
	if q.Key != "" {
		add("t.key = %s", q.Key)
	}
	// Meta has no index: with one, a new task with two pairs cost the server 1.3 to 2.8 times as much.
	if len(q.Meta) > 0 {
		add("t.meta @> %s::jsonb", storekit.FormatMeta(q.Meta))
	}
	return probes, append(conditions, "true")
}

// words returns statuses or reasons as texts.
func words[T ~string](all []T) []string {
	s := make([]string, len(all))
	for i := range all {
		s[i] = string(all[i])
	}
	return s
}

// searchStatement finds the tasks that match among the rows of the sources. It also returns the
// last row that it has examined, unless it has found enough or there are no more. It takes the rows
// as they come, and stops when it has enough; s is read again only if it has not.
func (f *filter) searchStatement(parts []task.Query, kinds map[string][]string) string {
	q := f.Query
	defer func() { f.Query = q }()
	looks := f.arg(int64(q.Looks()))
	var (
		sources []string
		walked  []task.Query
	)
	for _, part := range parts {
		part = walkedFor(part)
		if slices.ContainsFunc(walked, func(p task.Query) bool {
			return p.Status == part.Status && p.Kind == part.Kind && p.Queue == part.Queue
		}) {
			continue // the parts differ only in filters that their source does not cover
		}
		walked = append(walked, part)
		f.Query = part
		sources = append(sources, f.source(kinds[part.Queue], looks))
	}
	source := sources[0]
	if len(sources) > 1 {
		source = "select * from ((" + strings.Join(sources, ") union all (") + ")) t order by t.at desc, t.id desc limit " + looks
	}
	probes, conditions := f.looked(q)
	return fmt.Sprintf(`with s as not materialized (%[1]s), hits as materialized (
		select s.id, s.created, s.at, `+statusOfTask+` as status, coalesce(e.ended, r.started, q.since, s.created) as since
		from s %[2]s where %[3]s limit %[4]s
	), enough as materialized (
		select (select pg_catalog.count(*) from hits) = %[4]s as found
	), last as materialized (
		select s.id, s.at from s where not (select found from enough) offset %[5]s - 1 limit 1
	)
	select array(select id from hits), array(select created from hits), array(select at from hits), array(select status from hits), array(select since from hits),
		array(select id from last), array(select at from last)`,
		source, probes, strings.Join(conditions, " and "), f.limit, looks)
}

// search finds tasks for filters that no index covers.
func (s *Store) search(ctx context.Context, f *filter, parts []task.Query, kinds map[string][]string) (tasks []task.Task, err error) {
	var (
		ids, lastID                [][16]byte
		created, at, since, lastAt []time.Time
		statuses                   []task.Status
	)
	sql := s.sql(f.searchStatement(parts, kinds))
	if err := s.pool.QueryRow(ctx, sql, f.args...).Scan(&ids, &created, &at, &statuses, &since, &lastID, &lastAt); err != nil {
		return nil, err
	}
	if f.Brief {
		for i, id := range ids {
			tasks = append(tasks, outline(id, created[i], statuses[i], since[i]))
		}
	} else {
		if tasks, err = s.readPicked(ctx, f, ids, created); err != nil {
			return nil, err
		}
		tasks = f.stillAdmitted(tasks)
	}
	if len(tasks) == f.most || len(ids) < f.most && len(lastID) == 0 {
		return tasks, nil
	}
	after := task.Position{Order: f.Order}
	if len(ids) == f.most { // some have changed since
		after.At, after.ID = at[len(at)-1], storekit.FormatID(ids[len(ids)-1])
	} else {
		after.At, after.ID = lastAt[0], storekit.FormatID(lastID[0])
	}
	return tasks, &task.MoreError{After: after.String()}
}
