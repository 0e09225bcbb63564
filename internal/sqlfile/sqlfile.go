// Package sqlfile reads files of named SQL statements, so that a store's SQL is in files that an
// editor highlights and a database's own shell can run, and Go code names the statements that it
// executes.
//
// A line "-- name: FinishRuns" begins a statement, which ends at the next such line or at the end
// of the file. What stands before the first name is a comment on the file.
package sqlfile

import "strings"

// Parse returns the statements of a file by their names. Comment lines of a statement stay in it.
// It panics when a name is missing or given twice: the files are part of the program.
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
