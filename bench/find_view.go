package main

// The statements that a person would write on the public view: the newest tasks of a status, of a
// kind, and of a time range. This is the only SQL of the benchmarks that uses names of a store's
// schema.
const (
	viewByStatus = `select id from lastcall.task_records where status = $1 order by created desc limit 100`
	viewByKind   = `select id from lastcall.task_records where kind = $1 order by created desc limit 100`
	viewByTime   = `select id from lastcall.task_records where created >= $1 and created < $2 order by created desc limit 100`
)
