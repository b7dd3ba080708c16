package config

import (
	"reflect"
	"slices"
	"strings"
)

// Setting describes one variable, for the table of settings in the README.
type Setting struct {
	Name     string // The whole variable.
	Default  string // Empty when there is none.
	Help     string // One sentence.
	Required bool   // There is no default and the process does not start without it.
	File     bool   // The variable names a file that holds the value.
}

// Describe lists the settings of T in the order of its fields. A field whose tag is wrong is left out; Load refuses it.
func Describe[T any]() []Setting {
	var cfg T
	leaves, _ := leavesOf(reflect.ValueOf(&cfg).Elem()) // Load reports the same error.
	settings := make([]Setting, 0, len(leaves))
	for _, l := range leaves {
		settings = append(settings, l.Setting)
	}
	return settings
}

// leaf is a field that one variable fills.
type leaf struct {
	Setting
	field reflect.StructField
	value reflect.Value
}

// leavesOf collects the fields of a struct, and of the structs in it, that carry an env tag. Together with an error it
// returns those before the wrong one.
func leavesOf(v reflect.Value) ([]leaf, error) {
	var leaves []leaf
	for field, value := range v.Fields() {
		if !field.IsExported() {
			continue
		}
		tag := strings.Split(field.Tag.Get("env"), ",")
		name, options := tag[0], tag[1:]
		if name == "" {
			if value.Kind() != reflect.Struct {
				continue
			}
			nested, err := leavesOf(value)
			leaves = append(leaves, nested...)
			if err != nil {
				return leaves, err
			}
			continue
		}
		l := leaf{field: field, value: value, Setting: Setting{
			Name:     name,
			Default:  field.Tag.Get("envDefault"),
			Help:     field.Tag.Get("help"),
			Required: slices.Contains(options, "required") || slices.Contains(options, "notEmpty"),
			File:     slices.Contains(options, "file"),
		}}
		l.Required = l.Required && l.Default == ""
		if l.File {
			err := checkFile(name, field.Type)
			if err != nil {
				return leaves, err
			}
		}
		leaves = append(leaves, l)
	}
	return leaves, nil
}
