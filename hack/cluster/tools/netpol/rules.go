package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The chain that every new connection from and to Pods passes.
const entry = "MANDATE-POLICY"

// world is everything that the rules follow from.
type world struct {
	pods       []*corev1.Pod
	namespaces map[string]labels.Set
	policies   []*networkingv1.NetworkPolicy
}

// direction is what differs between what a Pod may send and what it may receive.
type direction struct {
	kind   networkingv1.PolicyType
	prefix string
	own    string // iptables' option for the Pod's own address
	peer   string // and for the other side's
}

var (
	egress  = direction{networkingv1.PolicyTypeEgress, "MANDATE-E-", "-s", "-d"}
	ingress = direction{networkingv1.PolicyTypeIngress, "MANDATE-I-", "-d", "-s"}
)

// rule is one line of a policy, in either direction: no peers or no ports mean all.
type rule struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

// chains gives the content of every chain for the state of the cluster, the entry chain among them.
func (w world) chains() (map[string][]string, error) {
	result := map[string][]string{}
	jumps := []string{"-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"}
	for _, way := range []direction{egress, ingress} {
		for _, pod := range w.pods {
			rules, isolated, err := w.rulesFor(pod, way)
			if err != nil {
				return nil, err
			}
			if !isolated || !reachable(pod) {
				continue
			}
			chain := way.prefix + short(pod.Namespace+"/"+pod.Name)
			// A Pod can't be kept from itself.
			lines := []string{fmt.Sprintf("%s %s -j RETURN", way.peer, pod.Status.PodIP)}
			for _, each := range rules {
				allowed, err := w.allow(pod, each, way)
				if err != nil {
					return nil, err
				}
				lines = append(lines, allowed...)
			}
			result[chain] = append(lines, "-j DROP")
			jumps = append(jumps, fmt.Sprintf("%s %s -j %s", way.own, pod.Status.PodIP, chain))
		}
	}
	result[entry] = jumps
	return result, nil
}

// rulesFor collects the rules of all policies that select a Pod, and whether any does.
func (w world) rulesFor(pod *corev1.Pod, way direction) (rules []rule, isolated bool, err error) {
	for _, policy := range w.policies {
		if policy.Namespace != pod.Namespace || !applies(policy, way.kind) {
			continue
		}
		matches, err := selects(&policy.Spec.PodSelector, pod.Labels)
		if err != nil {
			return nil, false, fmt.Errorf("NetworkPolicy %s/%s: %w", policy.Namespace, policy.Name, err)
		}
		if !matches {
			continue
		}
		isolated = true
		if way.kind == networkingv1.PolicyTypeEgress {
			for _, each := range policy.Spec.Egress {
				rules = append(rules, rule{each.To, each.Ports})
			}
		} else {
			for _, each := range policy.Spec.Ingress {
				rules = append(rules, rule{each.From, each.Ports})
			}
		}
	}
	return rules, isolated, nil
}

func applies(policy *networkingv1.NetworkPolicy, kind networkingv1.PolicyType) bool {
	for _, each := range policy.Spec.PolicyTypes { // the API server fills this in
		if each == kind {
			return true
		}
	}
	return false
}

// target is one other side: its addresses, and the Pod behind them where there is one.
type target struct {
	prefix netip.Prefix
	pod    *corev1.Pod
}

// allow gives the lines that let a rule's connections pass.
func (w world) allow(pod *corev1.Pod, each rule, way direction) ([]string, error) {
	targets, err := w.targets(pod.Namespace, each.peers)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, other := range targets {
		receiver := other.pod // of the connection: it gives named ports their numbers
		if way.kind == networkingv1.PolicyTypeIngress {
			receiver = pod
		}
		for _, port := range portOptions(each.ports, receiver) {
			lines = append(lines, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s -j RETURN", way.peer, other.prefix, port)), " "))
		}
	}
	return lines, nil
}

func (w world) targets(namespace string, peers []networkingv1.NetworkPolicyPeer) ([]target, error) {
	if len(peers) == 0 {
		return []target{{prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}}, nil
	}
	var result []target
	for _, peer := range peers {
		if peer.IPBlock != nil {
			prefixes, err := block(peer.IPBlock)
			if err != nil {
				return nil, err
			}
			for _, prefix := range prefixes {
				result = append(result, target{prefix: prefix})
			}
			continue
		}
		for _, pod := range w.pods {
			matches, err := w.isPeer(pod, namespace, peer)
			if err != nil {
				return nil, err
			}
			if matches && reachable(pod) {
				address, err := netip.ParseAddr(pod.Status.PodIP)
				if err != nil {
					return nil, err
				}
				result = append(result, target{netip.PrefixFrom(address, address.BitLen()), pod})
			}
		}
	}
	return result, nil
}

func (w world) isPeer(pod *corev1.Pod, namespace string, peer networkingv1.NetworkPolicyPeer) (bool, error) {
	if peer.NamespaceSelector == nil {
		if pod.Namespace != namespace {
			return false, nil
		}
	} else if matches, err := selects(peer.NamespaceSelector, w.namespaces[pod.Namespace]); err != nil || !matches {
		return false, err
	}
	if peer.PodSelector == nil {
		return true, nil
	}
	return selects(peer.PodSelector, pod.Labels)
}

func selects(selector *metav1.LabelSelector, set labels.Set) (bool, error) {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return false, err
	}
	return parsed.Matches(set), nil
}

// reachable says whether a Pod has an address of its own on the Pods' network.
func reachable(pod *corev1.Pod) bool {
	done := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	address, err := netip.ParseAddr(pod.Status.PodIP)
	return !done && !pod.Spec.HostNetwork && err == nil && address.Is4()
}

// block gives the prefixes that cover an address block but for its exceptions.
func block(given *networkingv1.IPBlock) ([]netip.Prefix, error) {
	whole, err := netip.ParsePrefix(given.CIDR)
	if err != nil {
		return nil, err
	}
	if !whole.Addr().Is4() {
		return nil, nil // this network has no other addresses
	}
	result := []netip.Prefix{whole.Masked()}
	for _, text := range given.Except {
		except, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		var rest []netip.Prefix
		for _, prefix := range result {
			rest = append(rest, without(prefix, except)...)
		}
		result = rest
	}
	return result, nil
}

// without gives the prefixes that cover the one but not the other.
func without(prefix, except netip.Prefix) []netip.Prefix {
	if !prefix.Overlaps(except) {
		return []netip.Prefix{prefix}
	}
	if except.Bits() <= prefix.Bits() {
		return nil
	}
	bytes := prefix.Addr().As4()
	low := netip.PrefixFrom(prefix.Addr(), prefix.Bits()+1)
	bytes[prefix.Bits()/8] |= 1 << (7 - prefix.Bits()%8)
	high := netip.PrefixFrom(netip.AddrFrom4(bytes), prefix.Bits()+1)
	return append(without(low, except), without(high, except)...)
}

// portOptions gives iptables' options for each port of a rule; one empty text where it names none.
func portOptions(ports []networkingv1.NetworkPolicyPort, receiver *corev1.Pod) []string {
	if len(ports) == 0 {
		return []string{""}
	}
	var result []string
	for _, each := range ports {
		protocol := "tcp"
		if each.Protocol != nil {
			protocol = strings.ToLower(string(*each.Protocol))
		}
		switch {
		case each.Port == nil:
			result = append(result, "-p "+protocol)
		case each.Port.Type == intstr.String:
			for _, number := range named(receiver, each.Port.StrVal, protocol) {
				result = append(result, fmt.Sprintf("-p %s --dport %d", protocol, number))
			}
		case each.EndPort != nil:
			result = append(result, fmt.Sprintf("-p %s --dport %d:%d", protocol, each.Port.IntVal, *each.EndPort))
		default:
			result = append(result, fmt.Sprintf("-p %s --dport %d", protocol, each.Port.IntVal))
		}
	}
	return result
}

func named(pod *corev1.Pod, name, protocol string) []int32 {
	var result []int32
	if pod == nil {
		return nil
	}
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == name && strings.EqualFold(string(port.Protocol), protocol) {
				result = append(result, port.ContainerPort)
			}
		}
	}
	return result
}

// script is the input of iptables-restore that turns one set of chains into another, at once.
func script(old, new map[string][]string) string {
	var text strings.Builder
	text.WriteString("*filter\n")
	for _, chain := range sorted(new, old) {
		fmt.Fprintf(&text, ":%s - [0:0]\n", chain) // makes it, or empties it
	}
	for _, chain := range sorted(new) {
		for _, line := range new[chain] {
			fmt.Fprintf(&text, "-A %s %s\n", chain, line)
		}
	}
	for _, chain := range sorted(old) {
		if _, stays := new[chain]; !stays {
			fmt.Fprintf(&text, "-X %s\n", chain)
		}
	}
	text.WriteString("COMMIT\n")
	return text.String()
}

func sorted(maps ...map[string][]string) []string {
	var result []string
	seen := map[string]bool{}
	for _, each := range maps {
		for chain := range each {
			if !seen[chain] {
				seen[chain] = true
				result = append(result, chain)
			}
		}
	}
	sort.Strings(result)
	return result
}

func short(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}
