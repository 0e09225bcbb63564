package pgstore

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/lastcall-go/lastcall/internal/sqlfile"
)

//go:embed sql/*.sql
var sqlFiles embed.FS

// statements are the statements of the folder sql, by their names there, with the schema's name
// filled in.
type statements struct {
	Add                                                                                 string
	Claim, Poll, Promote, Expire                                                        string
	FinishRuns, Verdicts, Poison, SaveRuns                                              string
	OldClaims                                                                           string
	Pause, AwaitClaims, InterruptQueue, Resume, CommandRun, CancelWaiting, RetryWaiting string
	CommandRuns, CancelAllWaiting, RetryAllWaiting, RetryAllEnded, DeleteAllEnded       string
	RetryEnded, DeleteEnded, Place                                                      string
	RegisterWorker, Beat, LockWorker, RaiseEpoch, HeldRuns, RemoveStoppedWorker         string
	Workers, MarkDead, MarkedDead, RemoveDeadWorker                                     string
	RecordSession, WithdrawSession, SessionSettings                                     string
	ReadPicked, OutlinePicked, PickHeld, CreatedOf, KindsOfQueue                        string
	History, Commands, Steps, Log, Count                                                string
	Prune, PruneExpired, PruneKeys, RemoveGoneWorkers, CompactCounts, Bloat             string
	RemoveForgottenWorkers, RemoveEmptySets                                             string
	ScheduleSet, CreateScheduleSet, ChangeScheduleSet, HearSchedules                    string
	RenameSchedules, RemoveSchedules, PutSchedules, Schedules, DueSchedules             string
	LockSchedules, Unfinished, SetTicks, SetLastTask, PauseSchedule                     string
	// FinishRun and SaveRun are FinishRuns and SaveRuns for one run, and wait for its lock.
	// SaveRunTx is SaveRun in a transaction of the caller's: until that ends, other changes of the
	// run skip it.
	FinishRun, SaveRun, SaveRunTx string
	// SaveNew is SaveRuns for steps that have no record yet. It fails if one has.
	SaveNew string
	// ClaimInterrupted and PollInterrupted are Claim and Poll of interrupted tasks only.
	ClaimInterrupted, PollInterrupted string
	// ClaimFromPriority is Claim of tasks with at least a certain priority.
	ClaimFromPriority string
}

// loadStatements returns the statements for a schema, whose quoted name is ident. It panics if a
// statement is missing or not used: that is a mistake in this package.
func loadStatements(ident string) statements {
	texts := maps.Clone(embedded())
	var s statements
	v := reflect.ValueOf(&s).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		text, ok := texts[name]
		if !ok {
			panic("pgstore: no file in sql has a statement " + name)
		}
		delete(texts, name)
		v.Field(i).SetString(withSchema(text, ident))
	}
	for name := range texts {
		panic("pgstore: nobody uses the statement " + name)
	}
	return s
}

// embedded returns the statements of the files in sql by name, and those that are made from them.
// They are read once for all stores of a process.
var embedded = sync.OnceValue(func() map[string]string {
	texts := make(map[string]string)
	files, err := fs.Glob(sqlFiles, "sql/*.sql")
	for _, file := range files {
		var text []byte
		if text, err = sqlFiles.ReadFile(file); err != nil {
			break
		}
		maps.Copy(texts, sqlfile.Parse(string(text)))
	}
	if err != nil {
		panic(fmt.Sprintf("pgstore: the embedded statements cannot be read: %v", err))
	}
	// "skip locked" cannot be a parameter. FinishRun finds its row by the key and not by ctid: a row
	// that it has waited for may have moved since the statement began.
	texts["FinishRun"] = strings.NewReplacer(" skip locked", "", "running where ctid", "running where task", "select ctid from @.running where task", "select task from @.running where task").Replace(texts["FinishRuns"])
	texts["SaveNew"] = strings.Replace(texts["SaveRuns"], `
	on conflict (task, step) do update set run = excluded.run, saved = excluded.saved, body = excluded.body,
		place = excluded.place, state = excluded.state, version = excluded.version`, "", 1)
	texts["SaveRun"] = strings.ReplaceAll(texts["SaveRuns"], " skip locked", "")
	texts["SaveRunTx"] = strings.ReplaceAll(texts["SaveRun"], " for key share", " for update")
	// These two read another index from its front: ready_handover, which has interrupted tasks alone.
	// Their order leaves out queued, so that the planner cannot choose ready_order, which has all
	// waiting tasks.
	texts["ClaimInterrupted"] = strings.NewReplacer(
		"and (q.sort_priority, q.queued, q.run_at, q.id) >= (w.sort_priority, w.queued, w.run_at, w.id)", "and q.status = 'interrupted'",
		"order by q.sort_priority, q.queued, q.run_at, q.id limit w.most", "order by q.sort_priority, q.run_at, q.id limit w.most").Replace(texts["Claim"])
	texts["ClaimFromPriority"] = strings.ReplaceAll(texts["Claim"], "and q.id <> all ($5::uuid[])", "and q.sort_priority <= $21::integer and q.id <> all ($5::uuid[])")
	texts["PollInterrupted"] = strings.NewReplacer(
		"q.suspicion is null and (q.route, q.sort_priority, q.queued, q.run_at, q.id) >= (p.first, p.sort_priority, p.queued, p.run_at, p.id)",
		"q.suspicion is null and q.status = 'interrupted' and q.route >= p.first",
		"q.suspicion is null and q.route > f.route", "q.suspicion is null and q.status = 'interrupted' and q.route > f.route",
		"order by q.route, q.sort_priority, q.queued, q.run_at, q.id limit 1", "order by q.route, q.sort_priority, q.run_at, q.id limit 1").Replace(texts["Poll"])
	for name, text := range texts {
		texts[name] = withServer(text)
	}
	return texts
})

// serverFunctions are the server's functions that the files of statements call, without their
// schema.
var serverFunctions = []string{
	"array_agg", "cardinality", "count", "floor", "generate_subscripts", "length", "max", "min", "now", "pg_backend_pid",
	"pg_postmaster_start_time", "pg_stat_get_activity", "set_config", "sum", "unnest",
}

// withServer puts pg_catalog before the functions in a statement: a session's search_path may have
// a schema in which another role has created functions of the same names. An operator cannot well
// be written with its schema. Instead its operands have exactly the types for which the server has
// an operator, so the server chooses that one.
//
// Each process does this when it opens its first store. A regular expression would take longer for
// it than everything else in there.
func withServer(text string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "(")
		if !found {
			b.WriteString(text)
			return b.String()
		}
		name := before[strings.LastIndexFunc(before, notInName)+1:]
		b.WriteString(before[:len(before)-len(name)])
		if slices.Contains(serverFunctions, name) {
			b.WriteString("pg_catalog.")
		}
		b.WriteString(name + "(")
		text = after
	}
}

// notInName reports whether a character cannot be part of the name of a function.
func notInName(r rune) bool {
	return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

// withSchema puts the quoted name of a schema into a statement.
func withSchema(text, ident string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "'@.'", "'"+ident+"'"), "@.", ident+".")
}

// sql puts the schema's name into a statement.
func (s *Store) sql(text string) string { return withSchema(text, s.ident) }
