package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fault is something in a configuration that cannot work.
type fault struct {
	// key is the path of keys to it, from the outermost to the innermost.
	key  []string
	text string
	// line is its line if that is known already; or 0.
	line int
}

// configFile finds the lines of a file.
type configFile struct {
	path string
	root *yaml.Node // nil if it could not be read
}

// problems are the faults of a file, each with its line.
type problems []string

func (p problems) Error() string {
	return strings.Join(p, "\n")
}

// decode reads the file's text into the configuration.
func (c *config) decode(path string, text []byte) []fault {
	c.file.path = path
	var root yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&root); err != nil && !errors.Is(err, io.EOF) {
		return yamlFaults(err)
	}
	c.file.root = &root
	walk := yamlWalk{seen: make(map[seenNode]bool)}
	walk.node(&root, reflect.TypeFor[config]())
	all := walk.faults
	if len(root.Content) > 0 {
		if err := root.Decode(c); err != nil {
			all = append(all, c.file.elsewhere(yamlFaults(err), all)...)
		}
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		all = append(all, fault{text: "there is more than one document: what follows the line --- is not read; remove it"})
	}
	return all
}

// has reports whether the file has a key at its top level.
func (f configFile) has(key string) bool {
	return f.line(fault{key: []string{key}}) > 0
}

// located puts file and line before each fault, in the order of the lines.
func (f configFile) located(faults []fault) problems {
	faults = slices.Clone(faults)
	slices.SortStableFunc(faults, func(a, b fault) int { return f.line(a) - f.line(b) })
	var out problems
	for _, one := range faults {
		where := f.path
		if line := f.line(one); line > 0 {
			where += ":" + strconv.Itoa(line)
		}
		out = append(out, where+": "+one.text)
	}
	return out
}

// elsewhere leaves out the faults of lines that could not be read anyway.
func (f configFile) elsewhere(faults, unread []fault) []fault {
	return slices.DeleteFunc(faults, func(a fault) bool {
		return slices.ContainsFunc(unread, func(b fault) bool { return f.line(a) == f.line(b) })
	})
}

// line returns the line of a fault's key, or of the innermost key around it that the file has; 0 if
// it has none.
func (f configFile) line(one fault) int {
	if one.line > 0 {
		return one.line
	}
	if f.root == nil || len(f.root.Content) == 0 {
		return 0
	}
	line, at := 0, f.root.Content[0]
	for _, name := range one.key {
		next := (*yaml.Node)(nil)
		for i := 0; at.Kind == yaml.MappingNode && i+1 < len(at.Content); i += 2 {
			if at.Content[i].Value == name {
				line, next = at.Content[i].Line, at.Content[i+1]
			}
		}
		if next == nil {
			break
		}
		at = next
	}
	return line
}

var (
	yamlLine  = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	wrongType = regexp.MustCompile("^cannot unmarshal !!(\\w+)(?: `(.*)`)? into (.*)$")
)

// yamlFaults turns the error of the YAML package into one fault for each line, in words for the
// author of the file.
func yamlFaults(err error) []fault {
	lines := []string{err.Error()}
	var types *yaml.TypeError
	if errors.As(err, &types) {
		lines = types.Errors
	}
	var all []fault
	for _, line := range lines {
		f := fault{text: strings.TrimPrefix(line, "yaml: ")}
		if m := yamlLine.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1]) // digits
			f = fault{line: n, text: inWords(m[2])}
		}
		all = append(all, f)
	}
	return all
}

// inWords explains what is wrong, and what to do.
func inWords(said string) string {
	switch said {
	case "found character that cannot start any token":
		return said + ": write spaces instead of tabs, and put a text that begins with a sign such as @ between quotes"
	case "found a tab character that violates indentation":
		return said + ": write spaces instead"
	}
	m := wrongType.FindStringSubmatch(said)
	if m == nil {
		return said
	}
	given := m[2]
	if given == "" {
		given = cmp.Or(map[string]string{"seq": "a list", "map": "a mapping"}[m[1]], `""`)
	}
	switch {
	case m[3] == "time.Duration" && m[1] == "int":
		return fmt.Sprintf("%s has no unit: write %ss for seconds", given, given)
	case m[3] == "time.Duration" && someDuration.MatchString(given):
		return fmt.Sprintf("%s is longer than anything lasts: use less", given)
	case m[3] == "time.Duration" && strings.HasSuffix(given, "..."): // the YAML package has cut it
		return fmt.Sprintf("%s is no duration, or longer than anything lasts: write a number with its unit, as 30s, 10m or 1h30m", given)
	case m[3] == "time.Duration":
		return fmt.Sprintf("%s is no duration: write a number with its unit, as 30s, 10m or 1h30m", given)
	case m[3] == "[]string":
		return fmt.Sprintf("%s is no list: write [\"./program\", \"argument\"], each argument for itself; it is never a line for a shell", given)
	case m[3] == "[]int":
		return fmt.Sprintf("%s is no list of numbers: write [64, 65]", given)
	case m[3] == "int":
		return fmt.Sprintf("%s is no whole number", given)
	case m[3] == "bool":
		return fmt.Sprintf("%s is neither true nor false", given)
	case m[3] == "string":
		return fmt.Sprintf("%s is no text", given)
	}
	return fmt.Sprintf("%s is no mapping: write keys with values below it", given)
}

// edits counts the letters to insert, delete or replace to turn one text into the other. Two
// letters that changed places count as two.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost = 1 + min(before, row[j], row[j+1])
			}
			before, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
