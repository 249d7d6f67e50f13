"""Who is who among the ranks, and which server holds which layer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import UserError
from minidl.roles import Roles

layouts = st.builds(
    lambda groups, size, servers: Roles(groups * size + servers, groups, servers),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(0, 6),
)


@given(layouts)
def test_workers_come_first_in_equal_groups_and_servers_last(roles):
    groups = [roles.group(rank) for rank in range(roles.ranks)]
    workers = [group for group in range(roles.groups) for _ in range(roles.group_size)]
    assert groups == workers + [-1] * roles.servers
    for group in range(roles.groups):
        assert [groups[rank] for rank in roles.members(group)] == [group] * roles.group_size
        assert roles.root(group) == roles.members(group)[0]
    assert min(roles.color(rank) for rank in range(roles.ranks)) >= 0


@given(st.integers(1, 9), st.integers(0, 3), st.data())
def test_where_ranks_have_died_groups_differ_by_one_rank_at_most(workers, servers, data):
    groups = data.draw(st.integers(1, workers))
    roles = Roles(workers + servers, groups, servers)
    members = [roles.members(group) for group in range(groups)]
    assert [rank for group in members for rank in group] == [*range(workers)]
    sizes = [len(group) for group in members]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1
    for group in range(groups):
        assert {roles.group(rank) for rank in members[group]} == {group}
        assert roles.root(group) == members[group][0]
    assert {roles.group(rank) for rank in range(workers, roles.ranks)} <= {-1}


@given(layouts, st.lists(st.integers(1, 1000), min_size=6, max_size=14))
def test_layers_are_dealt_to_all_servers_by_size(roles, sizes):
    if roles.servers == 0:
        return
    holders = roles.holders(sizes)
    servers = range(roles.workers, roles.ranks)
    assert set(holders) == set(servers)
    loads = [sum(s for s, h in zip(sizes, holders, strict=True) if h == r) for r in servers]
    lower = max(max(sizes), sum(sizes) / roles.servers)
    assert max(loads) <= lower * (2 - 1 / roles.servers)
    assert holders == roles.holders(sizes)


def test_one_server_a_layer():
    roles = Roles(9, 3, 6)
    assert sorted(roles.holders([3, 6, 1, 5, 2, 4])) == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(("ranks", "groups", "servers"), [(4, 2, 1), (2, 2, 1), (3, 1, 3)])
def test_ranks_that_cannot_be_dealt_are_refused(ranks, groups, servers):
    with pytest.raises(UserError, match="cannot be dealt"):
        Roles(ranks, groups, servers).check([1, 1, 1])


def test_more_servers_than_layers_are_refused():
    with pytest.raises(UserError, match="--servers 3 for 2 layers"):
        Roles(5, 2, 3).check([10, 10])
