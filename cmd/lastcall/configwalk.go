package main

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlWalk finds what the YAML package accepts silently, or stops at: unknown and duplicate keys,
// and keys, elements and values that are null. It removes the second of two equal keys from the
// tree, so that the rest can be decoded.
type yamlWalk struct {
	faults []fault
	// seen has the nodes that aliases lead to, with the types that they were checked against.
	seen map[seenNode]bool
}

type seenNode struct {
	at *yaml.Node
	as reflect.Type
}

func (w *yamlWalk) wrong(at *yaml.Node, format string, args ...any) {
	w.faults = append(w.faults, fault{line: at.Line, text: fmt.Sprintf(format, args...)})
}

// node checks a node that will be decoded into a type.
func (w *yamlWalk) node(n *yaml.Node, t reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch n.Kind {
	case yaml.AliasNode:
		if key := (seenNode{n.Alias, t}); !w.seen[key] {
			w.seen[key] = true
			w.node(n.Alias, t)
		}
	case yaml.DocumentNode:
		for _, one := range n.Content {
			w.node(one, t)
		}
	case yaml.SequenceNode:
		if t.Kind() != reflect.Slice {
			return
		}
		for _, one := range n.Content {
			if isNull(one) {
				w.wrong(one, "an element of this list is nothing, which %q means here: put it between quotes if it is a text, or take it out", one.Value)
			}
			w.node(one, t.Elem())
		}
	case yaml.MappingNode:
		w.mapping(n, t)
	}
}

// mapping checks keys and values.
func (w *yamlWalk) mapping(n *yaml.Node, t reflect.Type) {
	type name struct {
		kind  yaml.Kind
		value string
	}
	first := make(map[name]int)
	kept := n.Content[:0:0]
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		line, twice := first[name{key.Kind, key.Value}]
		switch {
		case isNull(key):
			w.wrong(key, "a key is nothing, which %q means here: put it between quotes if it is a name", key.Value)
			continue
		case twice:
			w.wrong(key, "key %s is there twice, first in line %d: remove one", key.Value, line)
			continue
		}
		first[name{key.Kind, key.Value}] = key.Line
		kept = append(kept, key, value)
		w.value(key, value, t)
	}
	n.Content = kept
}

// value checks the value of a key.
func (w *yamlWalk) value(key, value *yaml.Node, t reflect.Type) {
	switch {
	case key.ShortTag() == "!!merge":
		w.merged(value, t)
		return
	case t.Kind() == reflect.Map:
		t = t.Elem()
	case t.Kind() != reflect.Struct: // the YAML package reports it
		return
	default:
		field, known := fieldOf(t, key.Value)
		if !known {
			w.wrong(key, "unknown key %s: %s", key.Value, suggestion(key.Value, t))
			return
		}
		t = field
	}
	// It is usual that all lines of a mapping are commented out, and no mistake. A missing value is
	// more likely lost: a template's variable that was empty, or a text that YAML takes for a comment.
	if isNull(value) && t.Kind() != reflect.Struct && t.Kind() != reflect.Map {
		w.wrong(key, `%s has no value: give one (a text between quotes, an empty one as ""), or take the line out`, key.Value)
	}
	w.node(value, t)
}

// merged checks what a merge key brings in.
func (w *yamlWalk) merged(n *yaml.Node, t reflect.Type) {
	if n.Kind != yaml.SequenceNode {
		w.node(n, t)
		return
	}
	for _, one := range n.Content {
		w.node(one, t)
	}
}

// fieldOf returns the type of a key of a mapping.
func fieldOf(t reflect.Type, key string) (reflect.Type, bool) {
	for i := range t.NumField() {
		if tag := t.Field(i).Tag.Get("yaml"); tag != "" && tag == key {
			return t.Field(i).Type, true
		}
	}
	return nil, false
}

// suggestion names the known key that is most similar to an unknown one, or all known keys.
func suggestion(key string, t reflect.Type) string {
	var known []string
	for i := range t.NumField() {
		if tag := t.Field(i).Tag.Get("yaml"); tag != "" {
			known = append(known, tag)
		}
	}
	best, distance := "", 3
	for _, k := range known {
		if d := edits(strings.ToLower(key), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if best != "" {
		return "do you mean " + best + "?"
	}
	return "the keys here are " + strings.Join(known, ", ")
}

func isNull(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}
