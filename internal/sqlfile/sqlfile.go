// Package sqlfile reads files of named SQL statements. A store's SQL can then be in files that an
// editor highlights and that a database's own shell can run, and Go code refers to the statements
// by name.
//
// A line "-- name: FinishRuns" begins a statement, which ends before the next such line or at the
// end of the file. Text before the first name is a comment on the file.
package sqlfile

import "strings"

// Parse returns the statements of a file by their names. Comment lines in a statement are kept.
// It panics if a name is missing or given twice, since the files are part of the program.
func Parse(text string) map[string]string {
	statements := make(map[string]string)
	name := ""
	var body []string
	end := func() {
		if name != "" {
			statements[name] = strings.TrimSpace(strings.Join(body, "\n"))
		}
		body = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		next, ok := strings.CutPrefix(line, "-- name:")
		if !ok {
			body = append(body, line)
			continue
		}
		end()
		name = strings.TrimSpace(next)
		if _, twice := statements[name]; twice || name == "" {
			panic("sqlfile: the name " + `"` + name + `" is empty or given twice`)
		}
	}
	end()
	return statements
}
