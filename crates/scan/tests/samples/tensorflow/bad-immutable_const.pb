
c
ImmutableConstImmutableConst*
shape:*#
memory_region_name/etc/passwd*
dtype0"ª