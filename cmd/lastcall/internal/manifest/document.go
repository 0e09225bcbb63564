package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	kjson "sigs.k8s.io/json"
	kyaml "sigs.k8s.io/yaml"
)

const (
	// maxSource bounds what is read: the output of the largest charts is a few megabytes.
	maxSource = 16 << 20
	// maxErrors is how many unknown fields one error names.
	maxErrors = 8
)

// document is one YAML document of a source.
type document struct {
	source string
	// line is the line of the source on which the document begins, from 1.
	line int
	// standardInput is set if the document has no file, and so no directory.
	standardInput bool
	text, json    []byte // json is empty for a Compose file
	root          *yaml.Node
}

var (
	separator = regexp.MustCompile(`(?m)^---(?:[ \t].*)?\r?$`)
	comments  = regexp.MustCompile(`(?m)^[ \t]*(?:#.*)?\r?$`)
	lineIn    = regexp.MustCompile(`line (\d+)`)
)

// split splits a source into its documents, without the empty ones.
func split(s Source) (all []*document, err error) {
	standardInput := s.Name == ""
	if standardInput {
		s.Name = "standard input"
	}
	if len(s.Text) > maxSource {
		return nil, fmt.Errorf("%s has %d MiB: more than %d MiB is no manifest", s.Name, len(s.Text)>>20, maxSource>>20)
	}
	text := bytes.TrimPrefix(s.Text, []byte("\ufeff"))
	begins, line := 0, 1
	add := func(ends int) error {
		part := text[begins:ends]
		d := &document{source: s.Name, line: line, standardInput: standardInput, text: part}
		line += bytes.Count(part, []byte("\n"))
		if len(bytes.TrimSpace(comments.ReplaceAll(part, nil))) == 0 {
			return nil
		}
		if err := d.parse(part); err != nil {
			return err
		}
		if d.root != nil {
			all = append(all, d)
		}
		return nil
	}
	for _, at := range separator.FindAllIndex(text, -1) {
		if err := add(at[0]); err != nil {
			return nil, err
		}
		// The rest of the separator's own line is a comment, or belongs to the next document.
		begins = at[0] + len("---")
	}
	return all, add(len(text))
}

// parse parses a document into nodes with their lines, and into the JSON that Kubernetes would
// read.
func (d *document) parse(text []byte) (err error) {
	var file yaml.Node
	if err := yaml.Unmarshal(text, &file); err != nil {
		return d.broken(text, err)
	}
	if len(file.Content) == 0 {
		return nil
	}
	d.root = file.Content[0]
	if d.isCompose() {
		return nil
	}
	if d.json, err = kyaml.YAMLToJSONStrict(text); err != nil {
		return d.broken(text, err)
	}
	if string(d.json) == "null" {
		d.root = nil
		return nil
	}
	if d.root.Kind != yaml.MappingNode {
		return d.errorAt("", "this is no manifest: a manifest has keys such as apiVersion and kind")
	}
	return nil
}

// broken is the error of a document that is not YAML. Its line numbers become those of the source.
func (d *document) broken(text []byte, err error) error {
	said := strings.TrimPrefix(err.Error(), "yaml: ")
	said = strings.TrimPrefix(said, "unmarshal errors:\n  ")
	said = lineIn.ReplaceAllStringFunc(said, func(found string) string {
		n, _ := strconv.Atoi(strings.TrimPrefix(found, "line "))
		return "line " + strconv.Itoa(d.line+n-1)
	})
	if bytes.Contains(text, []byte("{{")) {
		return fmt.Errorf("%s is a template and no manifest: render it first, helm template . | lastcall rehearse -f - (%s)", d.source, said)
	}
	return fmt.Errorf("%s is no YAML: %s", d.source, said)
}

// decode decodes the document strictly into an object of the API.
func (d *document) decode(into any) error {
	unknown, err := kjson.UnmarshalStrict(d.json, into)
	if err != nil {
		path, text := "", strings.TrimPrefix(err.Error(), "json: ")
		if mismatch := mistyped.FindStringSubmatch(text); mismatch != nil {
			path = d.findMistyped(mismatch[2], mismatch[1])
			text = fmt.Sprintf("%s is a %s and must be a %s", mismatch[2], mismatch[1], goTypes(mismatch[3]))
			if mismatch[3] == "string" {
				text += ": put it in quotes"
			}
		}
		return d.errorAt(path, "%s", text)
	}
	var all []error
	for _, one := range unknown {
		var field kjson.FieldError
		if !errors.As(one, &field) {
			all = append(all, d.errorAt("", "%v", one))
			continue
		}
		if len(all) == maxErrors {
			all = append(all, fmt.Errorf("and %d more", len(unknown)-maxErrors))
			break
		}
		all = append(all, d.errorAt(field.FieldPath(), "Kubernetes knows no field %s", field.FieldPath()))
	}
	return errors.Join(all...)
}

// mistyped matches what the decoder says about a value of a wrong type: the type, the field, and
// the type that is wanted.
var mistyped = regexp.MustCompile(`^cannot unmarshal (\w+) into Go struct field \w*\.([\w./-]+) of type (\S+)$`)

// goTypes returns the name of a Go type in the words of YAML.
func goTypes(name string) string {
	switch {
	case strings.HasPrefix(name, "int"), strings.HasPrefix(name, "uint"), strings.HasPrefix(name, "float"):
		return "number"
	case strings.HasPrefix(name, "[]"):
		return "list"
	case strings.HasPrefix(name, "map["), strings.Contains(name, "."):
		return "mapping"
	}
	return strings.TrimPrefix(name, "*")
}

// errorAt returns an error that begins with the place of a path in the source.
func (d *document) errorAt(path, format string, args ...any) error {
	return fmt.Errorf("%s: %w", d.place(path), fmt.Errorf(format, args...))
}

// place returns a path's place in the source, as file:line.
func (d *document) place(path string) string {
	return d.source + ":" + strconv.Itoa(d.lineOf(path))
}

// lineOf returns the line of a path such as spec.containers[0].image, or of the last part of the
// path that exists.
func (d *document) lineOf(path string) int {
	node, line := d.root, 1
	if d.root != nil {
		line = d.root.Line
	}
	for _, step := range steps(path) {
		key, value := child(node, step)
		if value == nil {
			break
		}
		node, line = value, key.Line
	}
	return d.line + line - 1
}

// steps returns the parts of a path: names, and indexes in brackets.
func steps(path string) []string {
	path = strings.ReplaceAll(path, "[", ".[")
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' })
}

// child returns a child of a node: the node whose line is shown, and the value. It returns nil if
// there is no such child.
func child(node *yaml.Node, step string) (at, value *yaml.Node) {
	for node != nil && node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node == nil {
		return nil, nil
	}
	if index, ok := strings.CutPrefix(step, "["); ok {
		n, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
		if err != nil || node.Kind != yaml.SequenceNode || n < 0 || n >= len(node.Content) {
			return nil, nil
		}
		return node.Content[n], node.Content[n]
	}
	if node.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == step {
			return node.Content[i], node.Content[i+1]
		}
	}
	return nil, nil
}

// findMistyped returns the path of the first value of a type below a path without indexes.
func (d *document) findMistyped(path, kind string) string {
	var look func(node *yaml.Node, at string, rest []string) string
	look = func(node *yaml.Node, at string, rest []string) string {
		for node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		if len(rest) == 0 && jsonKind(node) == kind {
			return at
		}
		if node.Kind == yaml.SequenceNode {
			for i, item := range node.Content {
				if found := look(item, fmt.Sprintf("%s[%d]", at, i), rest); found != "" {
					return found
				}
			}
			return ""
		}
		if len(rest) == 0 {
			return ""
		}
		if _, value := child(node, rest[0]); value != nil {
			return look(value, at+"."+rest[0], rest[1:])
		}
		return ""
	}
	return look(d.root, "", steps(path))
}

// jsonKind returns the name that the decoder has for the type of a node.
func jsonKind(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.MappingNode:
		return "object"
	case node.Kind == yaml.SequenceNode:
		return "array"
	case node.Tag == "!!int", node.Tag == "!!float":
		return "number"
	case node.Tag == "!!bool", node.Tag == "!!str" && node.Style == 0 && oldBool.MatchString(node.Value):
		return "bool"
	}
	return "string"
}

// oldBool matches what YAML 1.1, which Kubernetes reads, takes for true or false.
var oldBool = regexp.MustCompile(`^(?i:y|yes|no?|on|off)$`)
