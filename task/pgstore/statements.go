package pgstore

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"strings"

	"github.com/lastcall-go/lastcall/internal/sqlfile"
)

//go:embed sql/*.sql
var sqlFiles embed.FS

// statements are the statements of the folder sql, by their names there, with the schema's name put
// in.
type statements struct {
	Add                                                                         string
	Claim, Poll, Promote                                                        string
	FinishRuns, Verdicts, Poison, SaveRuns                                      string
	Pause, Resume, CommandRun, CancelWaiting, RetryWaiting                      string
	RetryEnded, Place                                                           string
	RegisterWorker, Beat, LockWorker, RaiseEpoch, HeldRuns, RemoveStoppedWorker string
	Workers, MarkDead, MarkedDead, RemoveDeadWorker                             string
	TakeLocks, RecordLocks, ReleaseLocks, WithdrawLocks, SessionSettings        string
	ReadPicked, PickHeld, CreatedOf, KindsOfQueue                               string
	History, Log, Count                                                         string
	Prune, RemoveGoneWorkers, CompactCounts, Bloat                              string
	// FinishRun is FinishRuns for one that is waited for.
	FinishRun, SaveRun string
}

// loadStatements reads the statements for the schema of that quoted name. A statement that is
// missing, or that nobody uses, is a mistake of this package.
func loadStatements(ident string) statements {
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
	// Whether a row that is locked is left out is no parameter. One that was waited for may have
	// another place then than it had when the statement began.
	texts["FinishRun"] = strings.NewReplacer(" skip locked", "", "running where ctid", "running where task", "select ctid from @.running where task", "select task from @.running where task").Replace(texts["FinishRuns"])
	texts["SaveRun"] = strings.ReplaceAll(texts["SaveRuns"], " skip locked", "")
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

// withSchema puts the quoted name of a schema into a statement.
func withSchema(text, ident string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "'@.'", "'"+ident+"'"), "@.", ident+".")
}

// sql puts the schema's name into a statement.
func (s *Store) sql(text string) string { return withSchema(text, s.ident) }
