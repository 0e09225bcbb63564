package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
)

// Comments returns the packages and exported names without a comment.
//
// A constant or variable may share the comment of its group. So may a field: fields
// of a struct on consecutive lines, with no empty line between them, share the comment
// above or behind the first. Fields in programs and in internal packages need no
// comment, since no other module can use them: they are exported only for packages
// like encoding/json.
func Comments(t *Tree) (breaches []string) {
	for _, p := range t.Packages {
		c := commentCheck{fileSet: t.set, dir: p.Dir}
		c.fields = p.Name != "main" && !slices.Contains(strings.Split(p.Dir, "/"), "internal")
		documented := false
		for _, f := range p.files {
			if ast.IsGenerated(f.parsed) {
				continue
			}
			documented = documented || says(f.parsed.Doc)
			for _, decl := range f.parsed.Decls {
				c.declaration(decl)
			}
		}
		if !documented {
			breaches = append(breaches, fmt.Sprintf("%s has no package comment: say what it is for", p.Dir))
		}
		breaches = append(breaches, c.breaches...)
	}
	return breaches
}

type commentCheck struct {
	fileSet  *token.FileSet
	dir      string
	fields   bool
	breaches []string
}

func (c *commentCheck) missing(name *ast.Ident, of string) {
	at := c.fileSet.Position(name.Pos())
	c.breaches = append(c.breaches, fmt.Sprintf("%s/%s:%d: %s%s is exported and has no comment: say what it promises",
		c.dir, filepath.Base(at.Filename), at.Line, of, name.Name))
}

func (c *commentCheck) declaration(decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		of := receiver(d)
		if d.Name.IsExported() && (of == "" || ast.IsExported(of)) && !says(d.Doc) {
			if of != "" {
				of += "."
			}
			c.missing(d.Name, of)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				c.typeSpec(s, d.Doc)
			case *ast.ValueSpec:
				for _, name := range s.Names {
					if name.IsExported() && !says(d.Doc) && !says(s.Doc) && !says(s.Comment) {
						c.missing(name, "")
					}
				}
			}
		}
	}
}

func (c *commentCheck) typeSpec(s *ast.TypeSpec, group *ast.CommentGroup) {
	if !s.Name.IsExported() {
		return
	}
	if !says(group) && !says(s.Doc) && !says(s.Comment) {
		c.missing(s.Name, "")
	}
	switch t := s.Type.(type) {
	case *ast.StructType:
		if c.fields {
			c.fieldList(t.Fields, s.Name.Name)
		}
	case *ast.InterfaceType:
		c.fieldList(t.Methods, s.Name.Name)
	}
}

// fieldList checks the fields of a struct or the methods of an interface.
func (c *commentCheck) fieldList(list *ast.FieldList, of string) {
	shared, end := false, -1 // whether the previous field had a comment, and its last line
	for _, field := range list.List {
		own := says(field.Doc) || says(field.Comment)
		together := c.fileSet.Position(field.Pos()).Line == end+1
		documented := own || shared && together
		for _, name := range field.Names {
			if name.IsExported() && !documented {
				c.missing(name, of+".")
			}
		}
		shared, end = documented, c.fileSet.Position(field.End()).Line
	}
}

// says reports whether a comment has text: a directive alone has none.
func says(comment *ast.CommentGroup) bool {
	return comment != nil && strings.TrimSpace(comment.Text()) != ""
}

// receiver returns the name of a method's type, or "" for a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.ParenExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}
