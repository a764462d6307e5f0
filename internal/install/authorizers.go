package install

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/load"
)

// authorizerName is jobgate's name among the authorizers.
const authorizerName = "jobgate"

const authorizersKey = "authorizers"

// The types of authorizers in kube-apiserver (pkg/kubeapiserver/authorizer/modes). Only the type Webhook may occur twice.
var authorizerTypes = []string{"AlwaysAllow", "AlwaysDeny", "ABAC", "Webhook", "RBAC", "Node"}

// AuthorizersError says why an AuthorizationConfiguration cannot be used.
type AuthorizersError struct{ Err error }

func (e *AuthorizersError) Error() string { return e.Err.Error() }

func (e *AuthorizersError) Unwrap() error { return e.Err }

// errNoJobgate is for a file without jobgate.
var errNoJobgate = errors.New("there is no authorizer of type Webhook and name " + authorizerName)

// errTooLate is for a jobgate after an authorizer that allows.
var errTooLate = errors.New("jobgate can only deny, so it must come before authorizers that allow")

// CheckAuthorizers makes sure that jobgate is among the authorizers of an AuthorizationConfiguration, and in the right place. The
// error is an *AuthorizersError.
func CheckAuthorizers(text []byte) error {
	authorizers, err := loadAuthorizers(text)
	if err == nil && !slices.ContainsFunc(authorizers, isJobgate) {
		err = errNoJobgate
	}
	if err == nil {
		err = checkPosition(authorizers)
	}
	if err != nil {
		return &AuthorizersError{err}
	}
	return nil
}

// LostAuthorizers are the names of the authorizers that the first configuration has and the second does not. A configuration
// that is not valid has none.
func LostAuthorizers(before, after []byte) []string {
	old, err := loadAuthorizers(before)
	if err != nil {
		return nil
	}
	kept, err := loadAuthorizers(after)
	if err != nil {
		return nil
	}
	var lost []string
	for _, a := range old {
		if !slices.ContainsFunc(kept, func(b apiserver.AuthorizerConfiguration) bool { return a.Name == b.Name }) {
			lost = append(lost, a.Name)
		}
	}
	return lost
}

// MergeAuthorizers puts jobgate, as own has it, into a cluster's AuthorizationConfiguration. Everything else keeps its
// meaning, order and comments. A jobgate that is already there stays in its place, and is replaced unless it is equal.
//
// A new jobgate comes before every authorizer but Node: any other may allow, and then kube-apiserver does not ask jobgate. The
// others lose nothing: they are asked about everything that jobgate does not deny.
func MergeAuthorizers(existing, own []byte) ([]byte, error) {
	merged, err := mergeAuthorizers(existing, own)
	if err != nil {
		return nil, &AuthorizersError{err}
	}
	return merged, nil
}

func mergeAuthorizers(existing, own []byte) ([]byte, error) {
	theirs, err := loadAuthorizers(existing)
	if err != nil {
		return nil, err
	}
	ours, err := loadAuthorizers(own)
	if err != nil {
		return nil, fmt.Errorf("the program's own file: %w", err)
	}
	jobgate := slices.IndexFunc(ours, isJobgate)
	at := slices.IndexFunc(theirs, isJobgate)
	if at >= 0 && reflect.DeepEqual(theirs[at], ours[jobgate]) {
		return existing, checkPosition(theirs)
	}
	source, err := parseTree(own)
	if err != nil {
		return nil, fmt.Errorf("the program's own file: %w", err)
	}
	item := child(source.Content[0], authorizersKey, yaml.SequenceNode).Content[jobgate]
	tree, err := parseEditable(existing)
	if err != nil {
		return nil, err
	}
	list := child(tree.Content[0], authorizersKey, yaml.SequenceNode)
	if list == nil || len(list.Content) != len(theirs) {
		return nil, fmt.Errorf("%s must be a plain list", authorizersKey)
	}
	var want []apiserver.AuthorizerConfiguration
	if at >= 0 {
		list.Content[at] = replacing(list.Content[at], item)
		want = slices.Clone(theirs)
		want[at] = ours[jobgate]
	} else {
		at = placeFor(theirs)
		list.Content = slices.Insert(list.Content, at, item)
		want = slices.Insert(slices.Clone(theirs), at, ours[jobgate])
	}
	merged, err := encodeTree(tree)
	if err != nil {
		return nil, err
	}
	got, err := loadAuthorizers(merged)
	if err != nil {
		return nil, fmt.Errorf("jobgate cannot be put into it: %w", err)
	}
	if !reflect.DeepEqual(got, want) {
		return nil, errors.New("jobgate cannot be put into it without changing other authorizers")
	}
	return merged, checkPosition(got)
}

func isJobgate(a apiserver.AuthorizerConfiguration) bool { return a.Name == authorizerName }

// placeFor is the place for a new jobgate.
func placeFor(authorizers []apiserver.AuthorizerConfiguration) int {
	i := slices.IndexFunc(authorizers, func(a apiserver.AuthorizerConfiguration) bool { return a.Type != "Node" })
	if i < 0 {
		return len(authorizers)
	}
	return i
}

// checkPosition accepts other webhooks before jobgate: only the admin knows whether they allow.
func checkPosition(authorizers []apiserver.AuthorizerConfiguration) error {
	for _, a := range authorizers {
		switch {
		case isJobgate(a):
			return nil
		case a.Type == "RBAC" || a.Type == "ABAC" || a.Type == "AlwaysAllow":
			return fmt.Errorf("authorizer %s comes before jobgate: move jobgate above it: %w", a.Name, errTooLate)
		}
	}
	return nil
}

// loadAuthorizers reads with the API server's own loader, and repeats its validation, except of the fields of webhooks, which an
// API server with this file has already accepted. The whole validation needs the CEL library, a fifth of the program.
func loadAuthorizers(text []byte) ([]apiserver.AuthorizerConfiguration, error) {
	if _, err := parseTree(text); err != nil {
		return nil, err
	}
	c, err := load.LoadFromData(text)
	if err != nil {
		return nil, fmt.Errorf("not an AuthorizationConfiguration that kube-apiserver accepts: %w", err)
	}
	if errs := validateAuthorizers(c.Authorizers, field.NewPath("authorizers")); len(errs) > 0 {
		return nil, fmt.Errorf("not an AuthorizationConfiguration that kube-apiserver accepts: %w", errs.ToAggregate())
	}
	return c.Authorizers, nil
}

func validateAuthorizers(authorizers []apiserver.AuthorizerConfiguration, path *field.Path) field.ErrorList {
	if len(authorizers) == 0 {
		return field.ErrorList{field.Required(path, "at least one authorizer")}
	}
	var errs field.ErrorList
	types, names := sets.New[string](), sets.New[string]()
	for i, a := range authorizers {
		item, kind := path.Index(i), string(a.Type)
		switch {
		case !slices.Contains(authorizerTypes, kind):
			errs = append(errs, field.NotSupported(item.Child("type"), kind, authorizerTypes))
		case kind != "Webhook" && types.Has(kind):
			errs = append(errs, field.Duplicate(item.Child("type"), kind))
		case kind == "Webhook" && a.Webhook == nil:
			errs = append(errs, field.Required(item.Child("webhook"), "with the type Webhook"))
		case kind != "Webhook" && a.Webhook != nil:
			errs = append(errs, field.Forbidden(item.Child("webhook"), "only with the type Webhook"))
		case kind != "Webhook" && a.Name == authorizerName:
			errs = append(errs, field.Invalid(item.Child("name"), a.Name, "is jobgate's own"))
		}
		if names.Has(a.Name) {
			errs = append(errs, field.Duplicate(item.Child("name"), a.Name))
		}
		for _, message := range validation.IsDNS1123Subdomain(a.Name) {
			errs = append(errs, field.Invalid(item.Child("name"), a.Name, message))
		}
		types.Insert(kind)
		names.Insert(a.Name)
	}
	return errs
}
