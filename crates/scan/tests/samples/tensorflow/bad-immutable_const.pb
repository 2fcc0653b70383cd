
c
ImmutableConstImmutableConst*#
memory_region_name/etc/passwd*
shape:*
dtype0"ª